"""The one place where human amounts ('72 GiB', '250 ms', '25 Gbit/s') become numbers, and numbers become text.

Bytes are integers, durations are seconds, bandwidths are bytes per second. A bare number is already in that unit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from maestro.errors import InvalidInputError

KIB, MIB, GIB, TIB = (1024**power for power in (1, 2, 3, 4))

BYTE_UNITS: Mapping[str, float] = {
    "B": 1,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": TIB,
}
DURATION_UNITS: Mapping[str, float] = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
BANDWIDTH_UNITS: Mapping[str, float] = {
    **{f"{unit}/s": factor for unit, factor in BYTE_UNITS.items()},
    **{f"{prefix}bit/s": factor / 8 for prefix, factor in {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.items()},
}

_AMOUNT = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ/]*)\s*")


def parse_bytes(text: str | float, field: str = "size") -> int:
    """Return the bytes of '72 GiB', '269 MB' or a bare number; raises InvalidInputError, also for negative amounts."""
    return round(_parse(text, field, BYTE_UNITS, example="72 GiB"))


def parse_duration_s(text: str | float, field: str = "duration") -> float:
    """Return the seconds of '30 s', '250 ms', '2 min' or a bare number of seconds; raises InvalidInputError."""
    return _parse(text, field, DURATION_UNITS, example="250 ms")


def parse_bytes_per_s(text: str | float, field: str = "bandwidth") -> float:
    """Return the bytes per second of '100 MB/s', '25 Gbit/s' or a bare number; raises InvalidInputError."""
    return _parse(text, field, BANDWIDTH_UNITS, example="100 MB/s")


def format_bytes(count: float) -> str:
    """Write a size for people, in the largest binary unit it fills: '1.5 GiB'."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count:.0f} B"


def format_duration(seconds: float) -> str:
    """Write a duration for people: '85 ms', '12.3 s', '4 min 05 s', '2 h 10 min'."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if abs(minutes) < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _parse(text: str | float, field: str, units: Mapping[str, float], example: str) -> float:
    """Return the amount in the base unit, finite and not negative."""
    amount, unit = _split(text, field, example)
    if unit and unit not in units:
        known = ", ".join(units)
        raise InvalidInputError(field, f"unknown unit {unit!r}", value=text, remedy=f"use one of {known}")
    value = amount * (units[unit] if unit else 1)
    if not math.isfinite(value) or value < 0:
        raise InvalidInputError(field, "must be finite and not negative", value=text)
    return float(value)


def _split(text: str | float, field: str, example: str) -> tuple[float, str]:
    """Split off number and unit of an amount."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return text, ""
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidInputError(
            field, "not an amount", value=text, remedy=f"write a number and a unit, as in '{example}'"
        )
    return float(match[1]), match[2]
