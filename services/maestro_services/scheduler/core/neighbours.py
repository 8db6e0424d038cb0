"""Interference between replicas on one accelerator, as plans that place stages are told of it.

Replicas that share an accelerator take turns, so that a stage takes longer the more of its neighbours are at work. What
is predicted of a stage is stretched by what engines lately took, on average over the places its model serves at
(:mod:`~maestro_services.scheduler.core.pace`); here is by how much more or less than that a place does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from maestro.performance import slowdown
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.state import SchedulerState

_EQUAL = 1e-9


Stretches = dict[str, dict[str, float]]
"""By accelerator and model; a model that a place neither slows nor spares is left out."""


class Neighbours:
    """Computes how much places stretch stages."""

    def __init__(self, state: SchedulerState) -> None:
        """``state`` is read only."""
        self._state = state
        self._models = state.config.fleet.models

    def stretches(self, accelerators: Sequence[AcceleratorRecord]) -> Stretches:
        """The slowdown of each model at each place, against its average over the replicas that serve (1 if none does).

        At work is a model that serves there, or is about to, and has stages that run there, are planned or are ready.
        """
        found: Stretches = {accelerator.spec.name: {} for accelerator in accelerators}
        wanted = frozenset(self._state.ready.models()) | {place.model for place in self._state.agenda.place.values()}
        at_work = {accelerator.spec.name: _at_work(accelerator, wanted) for accelerator in accelerators}
        for name, model in self._models.items():
            slow = {
                accelerator.spec.name: slowdown(speed, active_models=1 + _others(accelerator, name, at_work))
                for accelerator in accelerators
                if (speed := model.speeds.get(accelerator.spec.kind)) is not None
            }
            serving = [slow[where] for where in self._serving(name) if where in slow]
            typical = sum(serving) / len(serving) if serving else 1.0
            for where, factor in slow.items():
                if abs(factor / typical - 1.0) > _EQUAL:
                    found[where][name] = factor / typical
        return found

    def _serving(self, model: str) -> Iterator[str]:
        for accelerator in self._state.hosts.of(model):
            if accelerator.replicas[model].phase is ReplicaPhase.READY:
                yield accelerator.spec.name


def _at_work(accelerator: AcceleratorRecord, wanted: frozenset[str]) -> frozenset[str]:
    return frozenset(
        replica.model
        for _, replica in accelerator.residents()
        if replica.phase in (ReplicaPhase.READY, ReplicaPhase.LOADING)
        and (replica.model in accelerator.stages_held or replica.model in wanted)
    )


def _others(accelerator: AcceleratorRecord, model: str, at_work: Mapping[str, frozenset[str]]) -> int:
    """How many other models are at work there, or on the accelerator of its group that has most."""
    return max(len(at_work.get(member.spec.name, frozenset()) - {model}) for member in accelerator.members(model))
