"""One thing that is wrong in a file, before it is tied to a line, and how pydantic's findings become that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from maestro.document import Document, KeyPath
from maestro.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Problem:
    """``path`` leads to the value, ``problem`` says what is wrong with it and ``remedy`` what to do."""

    path: KeyPath
    problem: str
    value: object = None
    remedy: str = ""


def problems_of(error: ValidationError, tags: Collection[str] = ()) -> list[Problem]:
    """Translate pydantic's findings. ``tags`` are names of union members, which stand in its paths but in no file."""
    problems = []
    for detail in error.errors(include_url=False):
        path: KeyPath = tuple(part for part in detail["loc"] if part != "[key]" and part not in tags)
        context = detail.get("ctx", {})
        remedy = str(context.get("remedy", ""))
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic counts entries that are wrong themselves as missing
        if detail["type"] == "unknown_key":
            problems.append(Problem((*path, context["key"]), detail["msg"], remedy=remedy))
        elif detail["type"] == "missing":
            problems.append(Problem(path, "is required", remedy="add the key"))
        else:
            value = None if isinstance(detail["input"], (dict, list, tuple)) else detail["input"]
            problem, advice = _worded(detail)
            problems.append(Problem(path, problem, value, remedy or advice))
    return problems


def _worded(detail: ErrorDetails) -> tuple[str, str]:
    """Return what is wrong and what to do in our own words where pydantic's are about its types and patterns."""
    match detail["type"]:
        case "string_pattern_mismatch":
            return "is not a name", "use letters, digits, '.', '_' and '-', at most 64, a letter or digit first"
        case "too_short":
            return "is empty", "give at least one"
        case _:
            return detail["msg"].removeprefix("Value error, ").replace("Input should", "should"), ""


def located(document: Document, problems: Sequence[Problem]) -> tuple[InvalidInputError, ...]:
    """Tie problems to the lines of ``document``, in the order of these."""
    ordered = sorted(problems, key=lambda problem: document.line_of(problem.path))
    return tuple(
        document.error(problem.path, problem.problem, value=problem.value, remedy=problem.remedy) for problem in ordered
    )
