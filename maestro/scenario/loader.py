"""Reads a scenario file; every problem points at file, line and key."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from maestro.document import read_document
from maestro.errors import InvalidInputError
from maestro.problem import located, problems_of
from maestro.scenario.checks import check_references
from maestro.scenario.machine import check_machine
from maestro.scenario.root import Scenario


def load(path: str | Path) -> Scenario:
    """Read a scenario and check all its cross references; raises InvalidInputError for the first problem in it."""
    scenario, problems = _read(Path(path))
    if scenario is None or problems:
        raise problems[0]
    return scenario


def find_problems(path: str | Path) -> tuple[InvalidInputError, ...]:
    """List everything wrong with the file, in the order of its lines; empty where ``load`` would succeed."""
    try:
        return _read(Path(path))[1]
    except InvalidInputError as error:
        return (error,)


def find_machine_problems(path: str | Path) -> tuple[InvalidInputError, ...]:
    """List what a valid scenario names and this machine lacks, in the order of its lines.

    Raises InvalidInputError where the file itself is not valid.
    """
    document = read_document(Path(path))
    return located(document, list(check_machine(load(path))))


def _read(path: Path) -> tuple[Scenario | None, tuple[InvalidInputError, ...]]:
    """Read the scenario, where its sections are fine by themselves, and all problems."""
    document = read_document(path)
    try:
        scenario = Scenario.model_validate(document.data, context={"folder": path.parent})
    except ValidationError as error:
        return None, located(document, problems_of(error))
    return scenario, located(document, list(check_references(scenario)))
