"""A trained predictor on disk: weights as safetensors, everything else as JSON. Nothing in it can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from maestro.errors import InvalidInputError
from maestro_solver.predictor import state as stored
from maestro_solver.predictor.calibration import BINS, Calibration
from maestro_solver.predictor.distribution import EDGES
from maestro_solver.predictor.encoding import NumericEncoding
from maestro_solver.predictor.features import NAMES
from maestro_solver.predictor.network import Network, NetworkWeights
from maestro_solver.predictor.role_statistics import LengthPredictor

VERSION = 1
"""Changes whenever an artefact of before can no longer be used, other features included."""

DEFAULT_FOLDER = Path(__file__).parent / "artefact"
"""The artefact that ships with Maestro."""

WEIGHTS_FILE = "weights.safetensors"
DESCRIPTION_FILE = "predictor.json"
CARD_FILE = "MODEL_CARD.md"


@dataclass(frozen=True, slots=True)
class Artefact:
    """All that training leaves behind. ``statistics`` and ``scores`` are states, each user starts from a copy.

    ``medians`` are the median lengths in training by (app, role, phase), () for all calls: what a trivial forecast
    would be. ``digest`` is the SHA-256 of the weights and ``training`` says from what and how they were made.
    """

    network: Network
    vocabulary: Mapping[str, int]
    statistics: object
    scores: object
    medians: Mapping[tuple[str, ...], float]
    training: Mapping[str, object]
    digest: str = ""

    def role_statistics(self) -> LengthPredictor:
        """Return the role statistics as training left them."""
        return LengthPredictor.from_state(self.statistics)

    def calibration(self) -> Calibration:
        """Return the calibration as training left it."""
        return Calibration.of(stored.decode(self.scores, BINS))


def save(artefact: Artefact, folder: Path) -> None:
    """Write an artefact's files; the description, which names the digest of the weights, comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    encoding, weights = artefact.network.encoding, artefact.network.weights
    arrays = {f"encoding.{field.name}": getattr(encoding, field.name) for field in fields(encoding)}
    arrays |= {f"weights.{field.name}": getattr(weights, field.name) for field in fields(weights)}
    content = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    description = {
        "format": "maestro-length-predictor",
        "version": VERSION,
        "features": list(NAMES),
        "class_edges_tokens": EDGES.tolist(),
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "training": dict(artefact.training),
        "medians": [[list(key), median] for key, median in artefact.medians.items()],
        "vocabulary": list(artefact.vocabulary),
        "statistics": artefact.statistics,
        "scores": artefact.scores,
    }
    (folder / WEIGHTS_FILE).write_bytes(content)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description, separators=(",", ":")) + "\n", encoding="utf-8")


def load(folder: Path = DEFAULT_FOLDER) -> Artefact:
    """Return the artefact in ``folder``.

    Raises InvalidInputError, naming file and field, for files that are missing, truncated, altered, or of another
    version.
    """
    description = _description(folder / DESCRIPTION_FILE)
    for name, expected in (("version", VERSION), ("features", list(NAMES)), ("class_edges_tokens", EDGES.tolist())):
        if description.get(name) != expected:
            raise _invalid(
                folder / DESCRIPTION_FILE,
                name,
                "is of another version of Maestro",
                description.get(name) if name == "version" else None,
            )
    content = _read(folder / WEIGHTS_FILE)
    digest = hashlib.sha256(content).hexdigest()
    if digest != description.get("weights_sha256"):
        raise _invalid(folder / WEIGHTS_FILE, "weights_sha256", "is not what was written: truncated or altered", digest)
    try:
        return _assembled(description, safetensors.numpy.load(content), digest)
    except (InvalidInputError, KeyError, TypeError, ValueError, IndexError, SafetensorError) as error:
        raise _invalid(folder / DESCRIPTION_FILE, "content", f"cannot be used: {error}", None) from error


def _assembled(description: Mapping[str, Any], arrays: Mapping[str, Any], digest: str) -> Artefact:
    encoding = NumericEncoding(**{field.name: arrays[f"encoding.{field.name}"] for field in fields(NumericEncoding)})
    weights = NetworkWeights(**{field.name: arrays[f"weights.{field.name}"] for field in fields(NetworkWeights)})
    vocabulary = {str(name): row for row, name in enumerate(description["vocabulary"], start=1)}
    if len(vocabulary) + 1 != len(weights.names) or encoding.mean.shape != (len(NAMES),):
        raise ValueError("vocabulary, features and weights do not belong together")
    artefact = Artefact(
        network=Network(encoding, weights),
        vocabulary=vocabulary,
        statistics=description["statistics"],
        scores=description["scores"],
        medians={tuple(key): float(median) for key, median in description["medians"]},
        training=description["training"],
        digest=digest,
    )
    artefact.role_statistics()
    artefact.calibration()
    return artefact


def _description(path: Path) -> Mapping[str, Any]:
    try:
        description = json.loads(_read(path))
    except ValueError as error:
        raise _invalid(path, "content", "is not JSON: truncated or altered", None) from error
    if not isinstance(description, dict):
        raise _invalid(path, "content", "must be a JSON object", description)
    return description


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _invalid(path, "file", f"cannot be read: {error.strerror}", None) from error


def _invalid(path: Path, field: str, problem: str, value: object) -> InvalidInputError:
    remedy = "train it again (maestro predictor train), or use the artefact that ships with Maestro"
    return InvalidInputError(f"{path}: {field}", problem, value=value, remedy=remedy)
