"""What KV reservations by a forecast quantile save per call, beside how many calls outgrow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maestro_solver.predictor.evaluation.replay import SHARES, ReplayedCall, lengths_of

STAGE_TOKENS = 8192
"""Reservation (a): a fixed number of tokens a stage; calls that do not fit it are left out."""

GENEROUS_OUTPUT_TOKENS = 4096
"""Reservation (b): the prompt and a generous output."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What reserving the prompt and a quantile of the output, or the cheapest length, saves; shares, 0 to 1.

    ``saved_of_stage`` is against STAGE_TOKENS, over the ``fitting`` share of calls; ``saved_of_generous`` against the
    prompt plus GENEROUS_OUTPUT_TOKENS. ``possible_*`` is what true lengths would save. ``overflow`` is the share of
    calls that outgrow their reservation, ``share_of_possible`` how much of ``possible_of_generous`` is saved.
    """

    quantile: str
    overflow: float
    fitting: float
    saved_of_stage: float
    possible_of_stage: float
    saved_of_generous: float
    possible_of_generous: float
    share_of_possible: float


def reservations(calls: Sequence[ReplayedCall]) -> tuple[Reservation, ...]:
    """Return what p90, p95, p98, p99 and the cheapest reservation save on ``calls``, which must not be empty."""
    prompts = np.array([one.call.prompt_tokens for one in calls], np.float64)
    lengths = lengths_of(calls)
    quantiles = np.stack([one.quantiles for one in calls])
    fits = prompts + lengths <= STAGE_TOKENS
    generous = float((prompts + GENEROUS_OUTPUT_TOKENS).sum())
    found = []
    outputs = {f"p{100 * share:.0f}": quantiles[:, list(SHARES).index(share)] for share in (0.9, 0.95, 0.98, 0.99)}
    outputs["cheapest"] = np.array([one.reserved_tokens for one in calls])
    for name, output in outputs.items():
        reserved = prompts + np.ceil(output)
        saved = _saved(float(reserved.sum()), generous)
        possible = _saved(float((prompts + lengths).sum()), generous)
        found.append(
            Reservation(
                quantile=name,
                overflow=float((prompts + lengths > reserved).mean()),
                fitting=float(fits.mean()),
                saved_of_stage=_saved(float(reserved[fits].sum()), float(STAGE_TOKENS * fits.sum())),
                possible_of_stage=_saved(float((prompts + lengths)[fits].sum()), float(STAGE_TOKENS * fits.sum())),
                saved_of_generous=saved,
                possible_of_generous=possible,
                share_of_possible=saved / possible if possible else 0.0,
            )
        )
    return tuple(found)


def _saved(reserved: float, against: float) -> float:
    return 1.0 - reserved / against if against > 0 else 0.0
