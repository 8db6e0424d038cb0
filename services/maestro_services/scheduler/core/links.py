"""The links over which a node reads weights: loads take them in turn, engines that start need none."""

from __future__ import annotations

from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.state import SchedulerState


def links_are_taken(state: SchedulerState, node: str, now: float) -> bool:
    """Whether a load of the node is still expected to be reading weights, rather than starting its engine."""
    models = state.config.fleet.models
    for accelerator in state.on_node(node):
        for replica in accelerator.replicas.values():
            if replica.phase is ReplicaPhase.LOADING:
                speed = models[replica.model].speeds.get(accelerator.spec.kind)
                start_s = speed.start_s if speed is not None and not replica.waking else 0.0
                if now < replica.ready_at_s - start_s:
                    return True
    return False
