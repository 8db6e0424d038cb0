"""The learnt histograms as a value that JSON can carry, and back, with everything that was read checked."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from maestro.errors import InvalidInputError
from maestro_solver.predictor.buckets import BUCKETS, Weights
from maestro_solver.predictor.histogram import CensoredHistogram
from maestro_solver.predictor.keys import DEPTH, Key

VERSION = 1
"""Changes whenever a state of before can no longer be read, other buckets included."""


def encode(histograms: Mapping[Key, CensoredHistogram], buckets: int = BUCKETS) -> dict[str, object]:
    """Return the histograms in their order (longest without an observation first), only their non-zero counts.

    ``entry_count`` is there to tell a truncated list from a whole one.
    """
    entries = [
        {"key": list(key), "complete": _sparse(histogram.complete), "censored": _sparse(histogram.censored)}
        for key, histogram in histograms.items()
    ]
    return {"version": VERSION, "buckets": buckets, "entry_count": len(entries), "entries": entries}


def decode(state: object, buckets: int = BUCKETS) -> dict[Key, CensoredHistogram]:
    """Return the histograms that ``encode`` was given; raises InvalidInputError where ``state`` is anything else.

    ``buckets`` is how many buckets each of them has.
    """
    fields = _mapping("state", state)
    for name, expected in (("version", VERSION), ("buckets", buckets)):
        if fields.get(name) != expected:
            raise _invalid(f"state.{name}", f"must be {expected}", fields.get(name))
    entries = fields.get("entries")
    if not isinstance(entries, list) or fields.get("entry_count") != len(entries):
        raise _invalid("state.entries", "is truncated or not a list", fields.get("entry_count"))
    histograms: dict[Key, CensoredHistogram] = {}
    for index, entry in enumerate(entries):
        path = f"state.entries[{index}]"
        parts = _mapping(path, entry)
        key = _key(f"{path}.key", parts.get("key"))
        if key in histograms:
            raise _invalid(f"{path}.key", "stands there twice", key)
        histograms[key] = CensoredHistogram(
            _dense(f"{path}.complete", parts.get("complete"), buckets),
            _dense(f"{path}.censored", parts.get("censored"), buckets),
        )
    return histograms


def _sparse(weights: Weights) -> list[list[float]]:
    return [[int(bucket), float(weights[bucket])] for bucket in np.flatnonzero(weights)]


def _dense(path: str, pairs: object, buckets: int) -> Weights:
    weights = np.zeros(buckets)
    if not isinstance(pairs, list):
        raise _invalid(path, "must be a list of [bucket, count]", pairs)
    for pair in pairs:
        match pair:
            case [int(bucket), int() | float() as count] if 0 <= bucket < buckets and 0 < count < math.inf:
                weights[bucket] = count
            case _:
                raise _invalid(path, "must be a list of [bucket, count]", pair)
    return weights


def _key(path: str, parts: object) -> Key:
    if not isinstance(parts, list) or len(parts) >= DEPTH or not all(isinstance(part, str) for part in parts):
        raise _invalid(path, f"must be a list of fewer than {DEPTH} strings", parts)
    return tuple(parts)


def _mapping(path: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _invalid(path, "must be an object", value)
    return value


def _invalid(path: str, problem: str, value: object) -> InvalidInputError:
    return InvalidInputError(path, problem, value=value, remedy="start the predictor without a stored state")
