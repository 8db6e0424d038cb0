"""Claims about ``maestro model import``."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from datetime import date
from pathlib import Path

import pytest
from model_files import write_gguf, write_model_folder, write_safetensors

from maestro.errors import ConflictError, InvalidInputError, MaestroError, NotFoundError
from maestro_services.models import convert
from maestro_services.models.importer import PROVENANCE_FILE, ImportedModel, ImportFailedError, import_model

ENGINE_PYTHON = Path(__file__).parents[3] / ".venv-vllm" / "bin" / "python"


def run_import(source: Path, destination: Path, **changes: object) -> ImportedModel:
    settings = {
        "interpreter": Path(sys.executable),
        "imported_on": date(2026, 1, 2),
        "replace": False,
        "on_step": lambda step: None,
    }
    return import_model(source, destination, **(settings | changes))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_model_folder(tmp_path / "source" / "tiny-model")


def test_a_folder_that_vllm_serves_is_taken_over_with_licence_and_provenance(
    model_folder: Path, tmp_path: Path
) -> None:
    """Tests that what vLLM reads is copied, what it does not read is left, and the origin is recorded."""
    imported = run_import(model_folder, tmp_path / "out" / "tiny")

    names = {file.name for file in imported.folder.iterdir()}
    weights = model_folder / "model.safetensors"
    recorded = json.loads((imported.folder / PROVENANCE_FILE).read_text())
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors", "LICENSE"} <= names
    assert "pytorch_model.pt" not in names
    assert (imported.folder / "model.safetensors").read_bytes() == weights.read_bytes()
    assert recorded["files"] == [{"name": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}]
    assert recorded["imported_on"] == "2026-01-02"


def test_nothing_is_left_beside_the_destination(model_folder: Path, tmp_path: Path) -> None:
    """Tests that temporary folders are gone after a success and after a failure."""
    out = tmp_path / "out"
    run_import(model_folder, out / "tiny")
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(InvalidInputError):
        run_import(model_folder, out / "tiny", replace=True)
    assert [entry.name for entry in out.iterdir()] == ["tiny"]


def test_an_existing_destination_is_replaced_only_on_request(model_folder: Path, tmp_path: Path) -> None:
    """Tests that the remedy is named, and that --force puts the new folder where the old one was."""
    destination = tmp_path / "tiny"
    destination.mkdir()
    (destination / "old.json").write_text("{}")
    with pytest.raises(ConflictError, match="--force"):
        run_import(model_folder, destination)
    run_import(model_folder, destination, replace=True)
    assert not (destination / "old.json").exists()
    assert (destination / "config.json").exists()


def test_a_failed_replacement_leaves_the_old_folder(tmp_path: Path) -> None:
    """Tests that the destination is untouched unless the import succeeds."""
    destination = tmp_path / "tiny"
    destination.mkdir()
    (destination / "old.json").write_text("{}")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidInputError):
        run_import(tmp_path / "broken.gguf", destination, replace=True)
    assert [entry.name for entry in destination.iterdir()] == ["old.json"]


def bad_source(kind: str, folder: Path) -> Path:
    """Make a source that is no model, of the named kind."""
    folder.mkdir()
    match kind:
        case "text":
            (folder / "a.gguf").write_text("hello")
            return folder / "a.gguf"
        case "empty file":
            (folder / "a.gguf").touch()
            return folder / "a.gguf"
        case "part":
            return write_gguf(folder / "big-00001-of-00003.gguf")
        case "two":
            write_gguf(folder / "a.gguf")
            write_gguf(folder / "b.gguf")
        case "no weights":
            (folder / "config.json").write_text("{}")
        case "archive":
            with zipfile.ZipFile(folder / "a.whl", "w") as archive:
                archive.writestr("readme.txt", "nothing here")
            return folder / "a.whl"
    return folder


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("text", "neither a GGUF file nor an archive"),
        ("empty file", "neither a GGUF file nor an archive"),
        ("part", "split GGUF"),
        ("two", "holds 2 .gguf files"),
        ("no weights", "no weights beside it"),
        ("archive", "without a .gguf file"),
        ("empty folder", "neither a .gguf file nor a config.json"),
    ],
)
def test_what_is_no_model_is_refused_with_a_remedy(kind: str, problem: str, tmp_path: Path) -> None:
    """Tests that each kind of wrong source is named for what it is."""
    with pytest.raises(InvalidInputError, match=problem) as caught:
        run_import(bad_source(kind, tmp_path / "source"), tmp_path / "out")
    assert caught.value.remedy


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Tests that the path is in the message."""
    with pytest.raises(NotFoundError, match=r"nowhere\.gguf"):
        run_import(tmp_path / "nowhere.gguf", tmp_path / "out")


@pytest.mark.parametrize("kept_bytes", [4, 30, 200, 100_000])
def test_a_truncated_gguf_is_found_wherever_it_was_cut(kept_bytes: int, tmp_path: Path) -> None:
    """Tests that a cut in the header and a cut in the weights are both called a truncation."""
    whole = write_gguf(tmp_path / "a.gguf").read_bytes()
    assert kept_bytes < len(whole)
    (tmp_path / "a.gguf").write_bytes(whole[:kept_bytes])
    with pytest.raises(InvalidInputError, match="truncated"):
        run_import(tmp_path / "a.gguf", tmp_path / "out")


def test_a_truncated_gguf_inside_a_wheel_is_found(tmp_path: Path) -> None:
    """Tests that archives are unpacked before they are judged."""
    whole = write_gguf(tmp_path / "a.gguf").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("package/a.gguf", whole[:-100])
    with pytest.raises(InvalidInputError, match="truncated"):
        run_import(tmp_path / "a.whl", tmp_path / "out")


def test_an_interpreter_that_is_not_there_is_refused(model_folder: Path, tmp_path: Path) -> None:
    """Tests that the remedy says how to get one."""
    with pytest.raises(InvalidInputError, match="make setup"):
        run_import(model_folder, tmp_path / "out", interpreter=tmp_path / "python")


def test_a_crash_of_the_converter_shows_what_it_wrote(model_folder: Path, tmp_path: Path) -> None:
    """Tests that an unexpected end is an error with the converter's last words."""
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\ncat >/dev/null\necho out of cheese >&2\nexit 3\n")
    interpreter.chmod(0o755)
    with pytest.raises(ImportFailedError, match="status 3: out of cheese"):
        run_import(model_folder, tmp_path / "out", interpreter=interpreter)


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Tests that the room a model takes is compared with the room there is."""
    with pytest.raises(convert.ConversionError, match="MiB free and the model takes"):
        convert.ensure_space(tmp_path, 1 << 60)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    """Tests that an interpreter that cannot convert says what it lacks."""
    with pytest.raises(convert.ConversionError, match="lacks no-such-package, no-other") as caught:
        convert.require("no-such-package", "no-other")
    assert caught.value.parts["field"] == "python"


@pytest.mark.parametrize(("dtype", "servable"), [("BF16", True), ("F32", False)])
def test_only_bfloat16_weights_are_taken_over_unconverted(dtype: str, servable: bool, model_folder: Path) -> None:
    """Tests that the decision is made from the header of the weights."""
    write_safetensors(model_folder / "model.safetensors", dtype)
    assert convert.is_servable(model_folder) is servable


def test_quantised_weights_are_taken_over_unconverted(model_folder: Path) -> None:
    """Tests that weights vLLM has kernels for are not blown up."""
    write_safetensors(model_folder / "model.safetensors", "I32")
    (model_folder / "config.json").write_text('{"quantization_config": {"quant_method": "awq"}}')
    assert convert.is_servable(model_folder)


def test_a_real_model_in_a_wheel_becomes_a_folder_that_vllm_serves(tmp_path: Path) -> None:
    """Tests the whole way from a GGUF to bfloat16 safetensors with tokenizer and chat template."""
    source = os.environ.get("MAESTRO_TEST_GGUF", "")
    if not source:
        pytest.skip("MAESTRO_TEST_GGUF does not name a GGUF file or a wheel with one")
    if not ENGINE_PYTHON.exists():
        pytest.skip(f"{ENGINE_PYTHON} is not there")
    steps: list[str] = []
    imported = run_import(Path(source), tmp_path / "out", interpreter=ENGINE_PYTHON, on_step=steps.append)
    names = {file.name for file in imported.folder.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", PROVENANCE_FILE} <= names
    assert set(convert.tensor_types(imported.folder / "model.safetensors")) == {"BF16"}
    assert "dequantising the weights" in steps


def test_every_error_of_the_import_is_one_of_maestros() -> None:
    """Tests that the command line can report it in one line."""
    assert issubclass(ImportFailedError, MaestroError)
