"""Which neighbourhood to try next, and how large: learnt from what each gained per second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

SMALLEST: Final = 8
LARGEST: Final = 160
_GROW: Final = 1.06
_SHRINK: Final = 0.85
_FORGET: Final = 0.9
_EXPLORE: Final = 0.3


class Bandit:
    """Arms by name, each with a discounted gain per second and the size at which it is still solved in time."""

    def __init__(self, arms: Sequence[str], size: int) -> None:
        """All arms start equal, at ``size`` stages."""
        self._arms = list(arms)
        self._gain = dict.fromkeys(arms, 0.0)
        self._seconds = dict.fromkeys(arms, 1e-3)
        self._size = dict.fromkeys(arms, float(size))

    def choose(self, rng: np.random.Generator) -> tuple[str, int]:
        """An arm and a number of stages: mostly by gain per second, sometimes any."""
        rates = np.array([self._gain[arm] / self._seconds[arm] for arm in self._arms])
        shares = np.full(rates.size, _EXPLORE / rates.size)
        shares += (1.0 - _EXPLORE) * (rates / rates.sum() if rates.sum() > 0 else 1.0 / rates.size)
        arm = self._arms[int(rng.choice(rates.size, p=shares / shares.sum()))]
        return arm, max(SMALLEST, int(self._size[arm] * rng.uniform(0.6, 1.1)))

    def learn(self, arm: str, gain: float, seconds: float, *, solved: bool) -> None:
        """One try: what it gained, how long it took, and whether it was solved to optimality."""
        self._gain[arm] = _FORGET * self._gain[arm] + gain
        self._seconds[arm] = _FORGET * self._seconds[arm] + seconds
        self._size[arm] = float(np.clip(self._size[arm] * (_GROW if solved else _SHRINK), SMALLEST, LARGEST))
