"""Imports a model: finds the weights, has them converted in another interpreter, puts the folder in place at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any

from maestro.errors import ConflictError, InvalidInputError, MaestroError
from maestro_services.models.source import ModelSource, ensure_exists, open_source, sha256_of

PROVENANCE_FILE = "maestro_provenance.json"
_CONVERTER = Path(__file__).with_name("convert.py")


class ImportFailedError(MaestroError):
    """The converter ended without saying why; the message carries the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model folder that stands. ``provenance`` is what was recorded beside the weights."""

    folder: Path
    size_bytes: int
    provenance: Mapping[str, Any]


def import_model(
    source: Path,
    destination: Path,
    *,
    interpreter: Path,
    imported_on: date,
    replace: bool,
    on_step: Callable[[str], None],
) -> ImportedModel:
    """Write the model in ``source`` to the folder ``destination``, whole or not at all.

    ``interpreter`` is a Python that has torch, transformers, gguf and accelerate. ``on_step`` is told what begins.
    Raises ConflictError where ``destination`` exists and ``replace`` is false, NotFoundError and InvalidInputError for
    a source that is no model, ImportFailedError where the converter crashed.
    """
    ensure_exists(source)
    if destination.exists() and not replace:
        raise ConflictError(f"destination: {destination} exists; choose another folder, or replace it with --force")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        unpacked = Path(stack.enter_context(_folder_beside(destination, "source")))
        written = Path(stack.enter_context(_folder_beside(destination, "import")))
        on_step(f"looking at {source.name}")
        found = open_source(source, unpacked)
        _ensure_runnable(interpreter)
        versions = _run_converter(interpreter, found, written, on_step)
        provenance = _provenance(found, versions, imported_on)
        _complete(written, found, provenance)
        size_bytes = sum(file.stat().st_size for file in written.iterdir())
        _put_in_place(written, destination, unpacked)
    return ImportedModel(destination, size_bytes, provenance)


def _folder_beside(destination: Path, purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder on the destination's own file system, where a rename is atomic."""
    return tempfile.TemporaryDirectory(
        prefix=f".{destination.name}.{purpose}-", dir=destination.parent, ignore_cleanup_errors=True
    )


def _ensure_runnable(interpreter: Path) -> None:
    if shutil.which(interpreter) is None:
        raise InvalidInputError(
            "python",
            "is not an interpreter",
            value=str(interpreter),
            remedy="run `make setup`, or name a Python that has torch and transformers",
        )


def _run_converter(
    interpreter: Path, source: ModelSource, destination: Path, on_step: Callable[[str], None]
) -> Mapping[str, str]:
    """Run ``convert.py`` to its end; return the versions of the packages it used."""
    request = {
        "folder": str(source.folder.resolve()),
        "gguf_file": source.gguf_file,
        "destination": str(destination.resolve()),
    }
    with tempfile.TemporaryFile("w+") as diagnostics:
        # -I: the script's folder and the user's own site-packages stay out of its imports.
        converter = subprocess.Popen(
            [str(interpreter), "-I", str(_CONVERTER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=diagnostics,
            text=True,
        )
        try:
            last = _converse(converter, request, on_step)
            converter.wait()
        finally:
            converter.kill()
            converter.wait()
        if "done" in last:
            versions: Mapping[str, str] = last["done"]
            return versions
        if "error" in last:
            error = last["error"]
            raise InvalidInputError(error["field"], error["problem"], remedy=error["remedy"])
        raise ImportFailedError(f"the conversion ended with status {converter.returncode}: {_end_of(diagnostics)}")


def _converse(
    converter: subprocess.Popen[str], request: Mapping[str, Any], on_step: Callable[[str], None]
) -> Mapping[str, Any]:
    """Send the request, pass steps on, and return the last message (empty where there was none)."""
    assert converter.stdin is not None  # noqa: S101 - both pipes were asked for
    assert converter.stdout is not None  # noqa: S101
    with converter.stdin as requests:
        requests.write(json.dumps(request))
    last: Mapping[str, Any] = {}
    for line in converter.stdout:
        if not line.startswith("{"):
            continue  # libraries write there too
        last = json.loads(line)
        if "step" in last:
            on_step(last["step"])
    return last


def _end_of(diagnostics: IO[str], limit: int = 800) -> str:
    diagnostics.seek(0)
    return diagnostics.read().strip()[-limit:] or "it wrote nothing"


def _provenance(source: ModelSource, versions: Mapping[str, str], imported_on: date) -> Mapping[str, Any]:
    return {
        "files": [{"name": file.name, "sha256": sha256_of(file)} for file in source.origin],
        "weights": source.gguf_file or "Hugging Face folder",
        "imported_on": imported_on.isoformat(),
        "converted_with": dict(versions),
    }


def _complete(folder: Path, source: ModelSource, provenance: Mapping[str, Any]) -> None:
    """Add licence and provenance, and open the files to readers as downloaded ones are."""
    if source.license_file is not None:
        shutil.copyfile(source.license_file, folder / "LICENSE")
    (folder / PROVENANCE_FILE).write_text(json.dumps(provenance, indent=2) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)


def _put_in_place(written: Path, destination: Path, attic: Path) -> None:
    """Rename the folder to its name; one that stood there moves to ``attic``, and goes away with it."""
    if destination.exists():
        destination.rename(attic / "replaced")
    written.rename(destination)
