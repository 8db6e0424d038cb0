"""What the scheduler logs of its fleet and its plans: a line for every change that an operator asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from maestro.fleet import place_text
from maestro.plan import Plan, Provenance
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.events import (
    Event,
    NodeDrainRequested,
    NodeRegistered,
    NodeStatusReported,
    NodeUnreachable,
    ReplicaReport,
    Tick,
)
from maestro_services.scheduler.core.records import NodeRecord, NodeState

log = logging.getLogger(__name__)

_OF_NODES = (NodeDrainRequested, NodeRegistered, NodeStatusReported, NodeUnreachable, Tick)
_Replica = tuple[str, str]


def plan_line(provenance: Provenance, plan: Plan | None) -> str:
    """Where the plan in force came from, how good it is, and what it does, in one short line."""
    parts = [f"source {provenance.source}", f"status {provenance.status}", f"objective {provenance.objective:.4g}"]
    if provenance.gap is not None:
        parts.append(f"gap {provenance.gap:.1%}")
    if plan is not None:
        loads = sum(not residency.initial for residency in plan.residencies)
        parts += [f"stages {len(plan.assignments)}", f"deferred {len(plan.deferred)}", f"loads {loads}"]
    if provenance.fallback_reason is not None:
        parts.append(f"fallback {provenance.fallback_reason}")
    parts.append(f"took {provenance.total_s:.2f} s")
    return ", ".join(parts)


class FleetLog:
    """Remembers what it has logged last of each node and of the replicas on it."""

    def __init__(self) -> None:
        """Nothing has been logged: nodes are absent, and have no replicas."""
        self._states: dict[str, NodeState] = {}
        self._replicas: dict[str, dict[_Replica, ReplicaReport]] = {}

    def observe(self, event: Event, nodes: Mapping[str, NodeRecord]) -> None:
        """Logs what an event, which the core has handled, has changed of the fleet."""
        if not isinstance(event, _OF_NODES):
            return
        for name, node in nodes.items():
            state = node.state
            if self._states.get(name, NodeState.ABSENT) is not state:
                log.log(logging.WARNING if state is NodeState.LOST else logging.INFO, "node %s is %s", name, state)
                self._states[name] = state
        if isinstance(event, NodeStatusReported):
            self._observe_replicas(event)

    def _observe_replicas(self, event: NodeStatusReported) -> None:
        before = self._replicas.get(event.node, {})
        now = {(replica.accelerator, replica.model): replica for replica in event.replicas}
        for place, replica in now.items():
            known = before.get(place)
            if known is None or (known.generation, known.phase) != (replica.generation, replica.phase):
                _log_replica(replica)
        for (accelerator, model), known in before.items():
            if (accelerator, model) not in now and known.phase is not ReplicaPhase.FAILED:
                log.info("%s was evicted from %s", model, place_text(known.accelerator, *known.peers))
        self._replicas[event.node] = now


def _log_replica(replica: ReplicaReport) -> None:
    place = place_text(replica.accelerator, *replica.peers)
    match replica.phase:
        case ReplicaPhase.FAILED:
            log.warning("%s failed on %s: %s", replica.model, place, replica.detail)
        case ReplicaPhase.READY:
            log.info("%s is ready on %s after %.1f s", replica.model, place, replica.load_s)
        case phase:
            log.info("%s is %s on %s", replica.model, phase, place)
