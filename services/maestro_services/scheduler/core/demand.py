"""What models are wanted for in the long run: what arrives, and what has arrived and is still to be done in time.

All stages of a workflow are known when it is accepted, so that a model is wanted long before its stages are ready.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from maestro.snapshot import ModelDemand
from maestro.status import StageState
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord
from maestro_services.scheduler.core.state import SchedulerState

WINDOW_S = 300.0
"""Arrivals are averaged over about so long, and what waits is to be done within it."""

SHORTEST_WINDOW_S = 5.0
"""What came in the first moments counts as if it had taken so long to come."""

TYPICAL_TOKENS = 2500
"""What a stage of a model reserves, before any was seen."""

WEIGHT_OF_ONE = 0.1
"""What the reservations of one instant count against those before."""


class Demand:
    """Keeps the averages. ``at`` is to be asked at instants that do not go back."""

    def __init__(self, state: SchedulerState) -> None:
        """``state`` is read only."""
        self._state = state
        self._models = state.config.fleet.models
        self._arrived: dict[str, float] = defaultdict(float)
        self._kv_bytes: dict[str, float] = {}
        self._counted: set[str] = set()
        self._began_s: float | None = None
        self._asked_at_s = 0.0

    def at(self, now: float) -> Mapping[str, ModelDemand]:
        """The demand by model; models that nothing needs are absent."""
        self._count_arrivals(now)
        self._see_reservations()
        wanted = {model: tokens / self._window_s(now) for model, tokens in self._arrived.items()}
        for workflow in self._state.workflows.values():
            for model, tokens in self._left(workflow, now):
                wanted[model] = wanted.get(model, 0.0) + tokens / WINDOW_S
        return {model: ModelDemand(rate, self._reservation(model)) for model, rate in sorted(wanted.items())}

    def _count_arrivals(self, now: float) -> None:
        """Adds what was accepted since this was last asked; what came earlier counts less and less."""
        if self._began_s is None:
            self._began_s = self._asked_at_s = now
        fading = math.exp((self._asked_at_s - now) / WINDOW_S)
        self._asked_at_s = now
        for model in self._arrived:
            self._arrived[model] *= fading
        active = self._state.workflows
        for workflow_id in sorted(active.keys() - self._counted):
            for stage in active[workflow_id].stages.values():
                if stage.models and stage.models[0] in self._models:
                    self._arrived[stage.models[0]] += self._tokens(stage)
        self._counted = set(active)

    def _window_s(self, now: float) -> float:
        """The time that the faded sum stands for."""
        elapsed_s = max(SHORTEST_WINDOW_S, now - (self._began_s or 0.0))
        return WINDOW_S * -math.expm1(-elapsed_s / WINDOW_S)

    def _left(self, workflow: WorkflowRecord, now: float) -> list[tuple[str, float]]:
        """What a workflow that can still be in time has not started yet."""
        waiting = [stage for stage in workflow.stages.values() if stage.state is StageState.WAITING]
        if workflow.deadline_at_s - now < max((stage.tail_s for stage in waiting), default=0.0):
            return []
        return [
            (stage.models[0], self._tokens(stage))
            for stage in waiting
            if stage.models and stage.models[0] in self._models
        ]

    def _tokens(self, stage: StageRecord) -> float:
        """The stage's predicted time alone, in tokens that the model decodes in it."""
        speeds = self._models[stage.models[0]].speeds
        kind = self._state.config.reference_kind
        speed = speeds[kind] if kind in speeds else next(iter(speeds.values()))
        return stage.typical_s * speed.decode_tokens_per_s

    def _see_reservations(self) -> None:
        held: dict[str, list[int]] = defaultdict(list)
        for accelerator in self._state.accelerators.values():
            for attempt in accelerator.running.values():
                held[attempt.model].append(attempt.kv_bytes)
        for model, found in held.items():
            mean = sum(found) / len(found)
            known = self._kv_bytes.get(model, mean)
            self._kv_bytes[model] = known + WEIGHT_OF_ONE * (mean - known)

    def _reservation(self, model: str) -> int:
        spec = self._models[model]
        typical = min(TYPICAL_TOKENS, spec.context_tokens) * spec.kv_bytes_per_token
        return round(self._kv_bytes.get(model, typical))
