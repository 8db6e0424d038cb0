"""Contention: the rate at which earliest deadline first attains a given share, found by bisection and remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro_services.simulation.experiment import Experiment, run
from maestro_services.simulation.policies import policy_named
from maestro_services.simulation.sweep import fingerprint

NOMINAL_ATTAINMENT = 0.9
HIGH_ATTAINMENT = 0.5

SEEDS = (101, 102, 103)
"""Seeds of the calibration, which no experiment uses."""

STEPS = 6
"""Halvings of the bracket: the rate is found to within 2 % of a factor of two."""

FIRST_RATE_PER_S = 0.1
LEAST_RATE_PER_S = FIRST_RATE_PER_S / 1024
LARGEST_RATE_PER_S = 1000.0

OnStep = Callable[[float, float], None]
"""Told a rate and what earliest deadline first attains at it."""


def rate_at(experiment: Experiment, attainment: float, cache: Path, on_step: OnStep | None = None) -> float:
    """The workflows a second at which EDF attains ``attainment`` on this fleet and workload.

    ``experiment.rate_per_s`` does not matter. The answer is kept in ``cache``, a folder, by what the experiment is.
    Raises InvalidInputError where there is no such rate: at the least one EDF attains less, at the largest one as much.
    """
    known = known_rate(experiment, attainment, cache)
    if known is not None:
        return known
    rate = _bisect(lambda found: _attained(replace(experiment, rate_per_s=found), on_step), attainment)
    cache.mkdir(parents=True, exist_ok=True)
    _file(experiment, attainment, cache).write_text(json.dumps({"rate_per_s": rate, "attainment": attainment}))
    return rate


def known_rate(experiment: Experiment, attainment: float, cache: Path) -> float | None:
    """The rate as ``rate_at`` has found it before; None where it has not."""
    file = _file(experiment, attainment, cache)
    return float(json.loads(file.read_text())["rate_per_s"]) if file.is_file() else None


def _file(experiment: Experiment, attainment: float, cache: Path) -> Path:
    return cache / f"{fingerprint(replace(experiment, rate_per_s=1.0), 'edf')}-{attainment:g}.json"


def _bisect(attained: Callable[[float], float], wanted: float) -> float:
    """The rate at which a falling function meets ``wanted``, on a logarithmic scale."""
    low = FIRST_RATE_PER_S
    while (share := attained(low)) < wanted:
        if low <= LEAST_RATE_PER_S:
            raise _without_rate(f"EDF attains only {share:.0%} at {low:g} workflows a second", wanted)
        low /= 2
    high = 2 * low
    while attained(high) >= wanted:
        if high >= LARGEST_RATE_PER_S:
            raise _without_rate(f"EDF attains as much at {high:g} workflows a second", wanted)
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if attained(middle) >= wanted else (low, middle)
    return float((low * high) ** 0.5)


def _without_rate(found: str, wanted: float) -> InvalidInputError:
    return InvalidInputError(
        "load",
        f"has no rate here: EDF should attain {wanted:.0%}, but {found}",
        remedy="give --rate, a longer --duration, or a fleet and deadlines that suit the workload",
    )


def _attained(experiment: Experiment, on_step: OnStep | None) -> float:
    shares = [float(run(experiment, policy_named("edf"), seed)["attainment"]["overall"]) for seed in SEEDS]
    found = sum(shares) / len(shares)
    if on_step is not None:
        on_step(experiment.rate_per_s or 0.0, found)
    return found
