"""What commands print: results on standard output, errors on standard error, for people or as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maestro.errors import InvalidInputError, MaestroError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_AS_JSON = "maestro.as_json"
_FILE_WIDTH = 160


def _remember(context: typer.Context, as_json: bool) -> bool:
    """Keep the choice where the error report finds it, however early the command fails."""
    context.meta[_AS_JSON] = as_json
    return as_json


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_remember, is_eager=True)]


def wants_json(context_meta: dict[str, Any]) -> bool:
    """Tell whether the command that runs was called with ``--json``."""
    return bool(context_meta.get(_AS_JSON, False))


def console() -> Console:
    """Return the console for results; rich is imported by the first command that prints."""
    return _console(stderr=False)


def notices() -> Console:
    """Return the console for what is not a result: progress and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    """Make a console that prints texts as they are, and as wide as it takes where no terminal sets a width."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _FILE_WIDTH
    return found


def emit(value: object, *, as_json: bool, view: RenderableType) -> None:
    """Print one result: ``value`` as JSON, or ``view`` for people."""
    if as_json:
        emit_json(value)
    else:
        console().print(view, soft_wrap=isinstance(view, str))


def emit_json(value: object, *, indent: int | None = 2) -> None:
    """Print ``value`` (data classes, enums, times and paths included) as JSON; infinite numbers become null."""
    from pydantic_core import to_json

    sys.stdout.write(to_json(value, indent=indent, inf_nan_mode="null").decode() + "\n")
    sys.stdout.flush()


def error_parts(error: MaestroError) -> dict[str, str | None]:
    """Return an error's parts: the offending field and value (empty and None where there is none), what to do."""
    if isinstance(error, InvalidInputError):
        value = None if error.value is None else str(error.value)
        return {"field": error.field, "problem": error.problem, "value": value, "remedy": error.remedy}
    return {"field": "", "problem": str(error), "value": None, "remedy": ""}


def report_error(error: MaestroError, *, as_json: bool) -> None:
    """Write one line on standard error: the error's message, or its parts as JSON."""
    line = json.dumps({"error": error_parts(error)}) if as_json else f"maestro: {' '.join(str(error).split())}"
    sys.stderr.write(line + "\n")
