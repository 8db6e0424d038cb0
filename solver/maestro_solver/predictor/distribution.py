"""Distributions of output lengths: a probability for each class of lengths, and a sloping density inside it.

Phase one of the model says which class a length falls in, phase two how lengths lie within it. Inside a class, with
u from 0 to 1 along it and slope t from -1 to 1, the density is 1 + t (2u - 1), so that

    P(below u | class) = u + t (u^2 - u)

which is inverted in closed form. An output of n tokens fills the interval from n to n + 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

SHORT_TOKENS = 8
"""Outputs below this (a word, an agreement, the shortest tool call) are a class of their own."""

_CLASS_GROWTH = 1.2
_LAST_CLASS_TOKENS = 32768
_LONGEST_TOKENS = 65536


def _class_edges() -> Doubles:
    edges = [0, SHORT_TOKENS]
    while edges[-1] < _LAST_CLASS_TOKENS:
        edges.append(math.ceil(edges[-1] * _CLASS_GROWTH))
    return np.array([*edges, _LONGEST_TOKENS], dtype=np.float64)


EDGES = _class_edges()
"""Class i holds the lengths from EDGES[i] up to EDGES[i + 1]; what is longer than the last counts as the last."""

WIDTHS = np.diff(EDGES)

CLASSES = len(WIDTHS)


def placed(positions: NDArray[np.floating]) -> tuple[NDArray[np.int64], Doubles]:
    """Return the class of each position, and how far along it the position is, 0 to 1."""
    found = np.clip(np.searchsorted(EDGES, positions, side="right") - 1, 0, CLASSES - 1)
    along = np.clip((positions - EDGES[found]) / WIDTHS[found], 0.0, 1.0)
    return found, along


@dataclass(frozen=True, slots=True)
class LengthDistributions:
    """Distributions of several lengths; both fields are (calls, CLASSES), rows of ``probability`` sum to 1."""

    probability: Doubles
    slope: Doubles

    def __len__(self) -> int:
        return len(self.probability)

    def rows(self) -> list[LengthDistributions]:
        """Return each length's distribution by itself; they share this one's memory."""
        pairs = zip(self.probability[:, None], self.slope[:, None], strict=True)
        return [LengthDistributions(probability, slope) for probability, slope in pairs]

    def quantiles(self, levels: NDArray[np.floating]) -> Doubles:
        """Return the positions below which the shares ``levels`` lie.

        ``levels`` is (calls, levels), each 0 to 1; the result has its shape and does not fall where levels do not.
        """
        cumulative = np.cumsum(self.probability, axis=1)
        cumulative /= cumulative[:, -1:]
        rows = np.arange(len(cumulative))[:, None]
        found = (cumulative[:, None, :] < levels[:, :, None]).sum(axis=2)
        found = np.minimum(found, CLASSES - 1)
        below = np.where(found > 0, cumulative[rows, found - 1], 0.0)
        share = np.clip((levels - below) / np.maximum(cumulative[rows, found] - below, 1e-12), 0.0, 1.0)
        slope = self.slope[rows, found]
        root = np.sqrt(np.maximum((1.0 - slope) ** 2 + 4.0 * slope * share, 1e-12))
        along = np.clip(2.0 * share / np.maximum(1.0 - slope + root, 1e-9), 0.0, 1.0)
        positions: Doubles = EDGES[found] + along * WIDTHS[found]
        return positions

    def below(self, positions: NDArray[np.floating]) -> Doubles:
        """Return the probability below each of ``positions``, (calls,)."""
        rows = np.arange(len(self))
        found, along = placed(positions)
        slope = self.slope[rows, found]
        before = np.where(found > 0, np.cumsum(self.probability, axis=1)[rows, found - 1], 0.0)
        within = self.probability[rows, found] * (along + slope * (along**2 - along))
        return np.clip(before + within, 0.0, 1.0)

    def density(self, tokens: NDArray[np.floating]) -> Doubles:
        """Return the probability per token in the middle of an output of ``tokens``, (calls,)."""
        rows = np.arange(len(self))
        found, along = placed(tokens + 0.5)
        sloped: Doubles = 1.0 + self.slope[rows, found] * (2.0 * along - 1.0)
        return self.probability[rows, found] * sloped / WIDTHS[found]

    def mixed(self, other: LengthDistributions, weight: NDArray[np.floating]) -> LengthDistributions:
        """Return the mixture that gives this one the share ``weight``, (calls,), and ``other`` the rest."""
        own = self.probability * weight[:, None]
        others = other.probability * (1.0 - weight)[:, None]
        total = own + others
        slope = (own * self.slope + others * other.slope) / np.maximum(total, 1e-300)
        return LengthDistributions(total, slope)
