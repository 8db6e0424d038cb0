"""When workflows arrive: processes at a rate, or recorded instants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random

_BURST_SHAPE = 0.15
"""Shape of the gamma distribution between bursty arrivals: a coefficient of variation of 2.6."""

_DAY_S = 86_400.0
_DAY_SWING = 0.6
"""How far a diurnal rate swings about its mean."""


class Process(StrEnum):
    """How arrivals are spread."""

    POISSON = "poisson"
    BURSTY = "bursty"
    DIURNAL = "diurnal"


def arrivals(process: Process, rate_per_s: float, random: Random) -> Iterator[float]:
    """Instants without an end, in seconds from 0, at ``rate_per_s`` on average.

    Equal random states give the same arrivals at every rate, only closer together: runs at several loads are paired.
    """
    at = 0.0
    while True:
        match process:
            case Process.POISSON:
                at += random.expovariate(1.0)
            case Process.BURSTY:
                at += random.gammavariate(_BURST_SHAPE, 1.0 / _BURST_SHAPE)
            case Process.DIURNAL:
                phase = 2.0 * math.pi * (at / rate_per_s) / _DAY_S
                at += random.expovariate(1.0 + _DAY_SWING * math.sin(phase))
        yield at / rate_per_s


def replayed(instants: Sequence[float], rate_per_s: float | None) -> Iterator[float]:
    """Recorded instants, from 0 on; stretched to a mean rate where one is given. Ends with the record."""
    first, last = min(instants), max(instants)
    own_rate = (len(instants) - 1) / (last - first) if last > first else 1.0
    factor = 1.0 if rate_per_s is None else own_rate / rate_per_s
    for instant in sorted(instants):
        yield (instant - first) * factor
