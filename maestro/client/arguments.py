"""Checks of what callers hand to a client: everything wrong with it is an InvalidInputError, before anything is sent.

The parameters' types say nothing: callers without a type checker hand over anything.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import networkx as nx

from maestro.address import check_address
from maestro.document import read_document
from maestro.errors import InvalidInputError
from maestro.status import WorkflowState
from maestro.workflow import WorkflowSpec
from maestro.workflow_file import accepted_form, workflow_from_graph

LARGEST_SEQUENCE = 2**64 - 1  # what the wire can hold

LONGEST_LIMIT_S = 1e9  # event loops and gRPC cannot count much further


def checked_address(value: object) -> str:
    """Return the address of a scheduler."""
    return check_address("address", checked_text("address", value))


def checked_text(field: str, value: object) -> str:
    """Return a text that can be sent; whether it names something is for the server to say."""
    if not isinstance(value, str):
        raise InvalidInputError(field, "is not text", value=value, remedy="give a str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        problem = "holds a lone surrogate, which is not text"
        raise InvalidInputError(field, problem, value=value, remedy="decode the text correctly") from error
    return value


def checked_sequence(field: str, value: object) -> int:
    """Return a sequence number of events."""
    if not isinstance(value, int) or not 0 <= value <= LARGEST_SEQUENCE:
        remedy = "give the sequence of the last event seen, or 0 for all"
        raise InvalidInputError(field, "is not a sequence number", value=value, remedy=remedy)
    return value


def checked_seconds(field: str, value: object) -> float:
    """Return a duration, seconds; it may be infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise InvalidInputError(field, "is not a duration", value=value, remedy="give seconds, 0 or more")
    return value


def checked_limit(field: str, value: object) -> float | None:
    """Return a limit of time, seconds; None where there is none, or one beyond all waiting."""
    limit_s = math.inf if value is None else checked_seconds(field, value)
    return limit_s if limit_s <= LONGEST_LIMIT_S else None


def checked_state(field: str, value: Any) -> WorkflowState:
    """Return a workflow's state, given as such or as its text."""
    try:
        return WorkflowState(value)
    except ValueError as error:
        remedy = f"use one of {', '.join(WorkflowState)}"
        raise InvalidInputError(field, "is not the state of a workflow", value=value, remedy=remedy) from error


def checked_workflow(value: Any) -> WorkflowSpec:
    """Return the workflow that a specification, a graph or a file describes."""
    if isinstance(value, WorkflowSpec):
        return value
    if isinstance(value, nx.DiGraph):
        return workflow_from_graph(value)
    if isinstance(value, str | Path):
        return accepted_form(read_document(Path(value)))
    raise InvalidInputError(
        "workflow",
        f"is of type {type(value).__name__}, which is no workflow",
        value=value,
        remedy="give a maestro.WorkflowSpec, a networkx.DiGraph, or the path of a workflow file",
    )
