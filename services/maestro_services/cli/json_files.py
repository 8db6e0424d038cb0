"""JSON files that commands are given and write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from maestro.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


def read_json(path: Path) -> Any:
    """Read a JSON file, ``-`` for standard input.

    Raises NotFoundError where there is no file, and InvalidInputError for one that cannot be read or is not JSON.
    """
    content = typer.get_binary_stream("stdin").read() if str(path) == "-" else _read(path)
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path}:{error.lineno}", f"is not JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(str(path), f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except RecursionError as error:
        raise InvalidInputError(str(path), "is nested too deeply") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidInputError(str(path), problem, remedy="give a JSON file, or - for standard input") from error


def write_json(path: Path, values: object) -> None:
    """Write a JSON file for ``--out``; raises InvalidInputError."""
    try:
        path.write_text(json.dumps(values, separators=(",", ":")))
    except OSError as error:
        raise InvalidInputError("--out", f"cannot be written: {error.strerror}", value=str(path)) from error
