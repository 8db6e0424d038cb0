"""Writes a model folder; the one part of the import that needs torch and transformers.

A program, not a module to import: it runs in an interpreter that need not have Maestro, so it imports nothing of ours.
It reads a JSON request from its standard input, ``{"folder", "gguf_file", "destination"}``, and writes JSON lines to
its standard output: ``{"step": text}`` as it goes, then ``{"done": {package: version}}`` or ``{"error": {...}}``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

_BFLOAT16_BYTES = 2
_SPARE_BYTES = 64 << 20  # tokenizer, configuration, and what the file system keeps for itself
_PACKAGES = ("torch", "transformers", "gguf", "accelerate")
_COPIED_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".safetensors")


class ConversionError(Exception):
    """Why the model cannot be written: the offending field, what is wrong with it, what to do."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.parts = {"field": field, "problem": problem, "remedy": remedy}


def report(message: dict[str, Any]) -> None:
    """Write one line for the program that started this one."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def convert(folder: Path, gguf_file: str | None, destination: Path) -> None:
    """Write the model in ``folder`` to ``destination``, which exists and is empty.

    Raises ConversionError for a source that is damaged or unknown, and where the disk is too small.
    """
    if gguf_file is not None:
        report({"step": "reading the GGUF header"})
        ensure_space(destination, gguf_parameters(folder / gguf_file) * _BFLOAT16_BYTES)
        load_and_save(folder, gguf_file, destination)
    elif is_servable(folder):
        ensure_space(destination, sum(file.stat().st_size for file in folder.iterdir() if file.is_file()))
        report({"step": "copying weights that need no conversion"})
        copy_model(folder, destination)
    else:
        ensure_space(destination, sum(file.stat().st_size for file in weight_files(folder)))
        load_and_save(folder, None, destination)


def gguf_parameters(path: Path) -> int:
    """Count the parameters in a GGUF file; reading the header also finds out whether the file is whole."""
    require("gguf")
    from gguf import GGUFReader  # noqa: PLC0415 - the check before it says what to install

    try:
        reader = GGUFReader(path)
        needed = max((int(tensor.data_offset) + int(tensor.n_bytes) for tensor in reader.tensors), default=0)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ConversionError("source", f"is truncated or damaged: {error}", "download it again") from error
    if needed == 0 or needed > path.stat().st_size:
        raise ConversionError("source", f"is truncated: {needed} bytes are announced", "download it again")
    return sum(int(tensor.n_elements) for tensor in reader.tensors)


def is_servable(folder: Path) -> bool:
    """Tell whether vLLM serves the folder's weights as they are: quantised safetensors, or safetensors in bfloat16."""
    weights = weight_files(folder)
    if any(file.suffix != ".safetensors" for file in weights):
        return False
    if "quantization_config" in json.loads((folder / "config.json").read_text()):
        return True
    return all(dtype == "BF16" for file in weights for dtype in tensor_types(file))


def weight_files(folder: Path) -> list[Path]:
    """List the folder's safetensors files, or its .bin files where it has none."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def tensor_types(path: Path) -> list[str]:
    """Read the types of a safetensors file's tensors from its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ConversionError("source", f"{path.name} is truncated or damaged", "download it again")
        header = json.loads(file.read(length))
    return [entry["dtype"] for name, entry in header.items() if name != "__metadata__"]


def ensure_space(destination: Path, needed_bytes: int) -> None:
    """Raise ConversionError where the destination's disk has not enough room."""
    free_bytes = shutil.disk_usage(destination).free
    if free_bytes < needed_bytes + _SPARE_BYTES:
        raise ConversionError(
            "destination",
            f"has {free_bytes >> 20} MiB free and the model takes {(needed_bytes + _SPARE_BYTES) >> 20} MiB",
            "free some space or choose another disk",
        )


def copy_model(folder: Path, destination: Path) -> None:
    """Copy the files of a model folder that vLLM reads."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix in _COPIED_SUFFIXES:
            shutil.copyfile(file, destination / file.name)


def load_and_save(folder: Path, gguf_file: str | None, destination: Path) -> None:
    """Load weights and tokenizer with transformers and write them as bfloat16 safetensors."""
    require(*_PACKAGES if gguf_file else ("torch", "transformers"))
    report({"step": "loading torch and transformers"})
    import torch  # noqa: PLC0415 - see `require`
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415 - see `require`

    from_gguf: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
    try:
        report({"step": "reading the tokenizer"})
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **from_gguf)
        report({"step": "dequantising the weights" if gguf_file else "reading the weights"})
        dequantised = {"quantization_config": GgufConfig(dequantize=True)} if gguf_file else {}
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.bfloat16, **from_gguf, **dequantised
        )
    except (ValueError, KeyError, OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())[:300]
        raise ConversionError(
            "source", f"cannot be read: {reason}", "see which architectures transformers reads"
        ) from error
    report({"step": "writing safetensors"})
    model.save_pretrained(destination, safe_serialization=True)
    tokenizer.save_pretrained(destination)


def require(*packages: str) -> None:
    """Raise ConversionError that names the packages this interpreter lacks."""
    missing = [name for name in packages if not installed_version(name)]
    if missing:
        raise ConversionError(
            "python",
            f"{sys.executable} lacks {', '.join(missing)}",
            f"name another interpreter with --python, or run {sys.executable} -m pip install {' '.join(missing)}",
        )


def installed_version(package: str) -> str:
    """Return the package's version, empty where it is not installed."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def main() -> int:
    """Serve one request; 0 after ``done``, 1 after ``error``."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"})
    request = json.load(sys.stdin)
    try:
        convert(Path(request["folder"]), request["gguf_file"], Path(request["destination"]))
    except ConversionError as error:
        report({"error": error.parts})
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        report({"error": ConversionError("destination", "is on a full disk", "free some space").parts})
        return 1
    report({"done": {name: installed_version(name) for name in _PACKAGES if installed_version(name)}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
