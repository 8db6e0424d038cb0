"""How far the network is trusted beside role statistics, learnt from how well each has foretold the outputs so far."""

from __future__ import annotations

import math
from collections.abc import Mapping

from maestro_solver.predictor.keys import Named

Group = tuple[str, ...]

_INITIAL = 5.0
"""Log-odds of the network before anything was seen of an app that it was trained on: 0.993."""

_INITIAL_ELSEWHERE = 0.0
"""The same of an app that it never saw."""

_BOUND = 7.0
_LARGEST_STEP = 2.0
_RETENTION = 0.97


class ExpertWeights:
    """Weights of the network against role statistics, by (app, role), or by app where a role is new.

    The log-odds are the initial ones plus the sum of log-likelihood ratios of the outputs seen: the Bayesian weights of
    two models, with older outputs fading (half after 23) so that a change of the world is followed.
    """

    def __init__(self, ratios: Mapping[Group, float] | None = None) -> None:
        self._ratios: dict[Group, float] = dict(ratios or {})

    def network_weight(self, call: Named, *, is_known: bool) -> float:
        """Return the share of the network in a call's forecast, 0 to 1; ``is_known``: it was trained on the app."""
        ratio = self._ratios.get((call.app, call.role), self._ratios.get((call.app,), 0.0))
        odds = max(-_BOUND, min(_BOUND, (_INITIAL if is_known else _INITIAL_ELSEWHERE) + ratio))
        return 1.0 / (1.0 + math.exp(-odds))

    def observe(self, call: Named, network_density: float, statistics_density: float) -> None:
        """Learn from how probable each expert held the length of an output that has ended."""
        ratio = math.log(max(network_density, 1e-12)) - math.log(max(statistics_density, 1e-12))
        step = max(-_LARGEST_STEP, min(_LARGEST_STEP, ratio))
        for group in ((call.app, call.role), (call.app,)):
            total = _RETENTION * self._ratios.get(group, 0.0) + step
            self._ratios[group] = max(-_INITIAL - _BOUND, min(_BOUND, total))

    def ratios(self) -> Mapping[Group, float]:
        """What is stored of it."""
        return self._ratios
