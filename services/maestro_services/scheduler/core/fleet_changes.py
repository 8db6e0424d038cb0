"""What nodes report: they come, go and drain; replicas become ready or fail; attempts live or are gone."""

from __future__ import annotations

from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.events import (
    AttemptFailed,
    NodeDrainRequested,
    NodeRegistered,
    NodeStatusReported,
    ReplicaCommandFailed,
    ReplicaReport,
    ReplicaUnloaded,
)
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import AcknowledgeAttempts, CancelAttempt, FollowAttempt, Outcome
from maestro_services.scheduler.core.records import AcceleratorRecord, NodeRecord, NodeState, ReplicaRecord
from maestro_services.scheduler.core.state import SchedulerState

FIRST_LOAD_RETRY_S = 5.0
LEASES_TO_COME_BACK = 4
LONGEST_LOAD_RETRY_S = 120.0


class FleetChanges:
    """Applies what is heard of nodes."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle) -> None:
        """``lifecycle`` is told of attempts that are gone."""
        self._state = state
        self._lifecycle = lifecycle

    def register(self, event: NodeRegistered, now: float, outcome: Outcome) -> None:
        """A node announced itself. Another instance than before has none of the old one's engines or attempts."""
        node = self._state.nodes[event.node]
        if node.instance_id and node.instance_id != event.instance_id:
            self._forget(event.node, "the node was restarted", now, outcome)
        node.instance_id, node.address, node.models = event.instance_id, event.address, event.models
        node.lease_generation += 1
        node.last_seen_s = now
        if node.state is not NodeState.DRAINING:
            node.state = NodeState.UP
        self._state.plan_wanted = True

    def report(self, event: NodeStatusReported, now: float, outcome: Outcome) -> None:
        """Takes over a node's view of its replicas and attempts."""
        node = self._state.nodes[event.node]
        if event.instance_id != node.instance_id:
            return
        node.last_seen_s = now
        for report in event.replicas:
            self._apply(report, now)
        if not node.reported:
            node.reported = True
            self._reconcile(node, event, now, outcome)
            self._state.plan_wanted = True
        self._drop_strangers(event, outcome)
        self._touch(event.node)

    def unloaded(self, event: ReplicaUnloaded) -> None:
        """A replica is gone and its memory free."""
        accelerator = self._state.accelerators[event.accelerator]
        self._retire(accelerator, event.model, event.generation)
        self._touch(accelerator.node)

    def command_failed(self, event: ReplicaCommandFailed, now: float) -> None:
        """A load was refused (tried again later, perhaps elsewhere), or an unload (the replica serves on)."""
        accelerator = self._state.accelerators[event.accelerator]
        replica = accelerator.replicas.get(event.model)
        if replica is None or replica.generation != event.generation:
            return
        if replica.phase is ReplicaPhase.LOADING:
            self._load_failed(accelerator, event.model, event.generation, now)
        elif replica.phase is ReplicaPhase.DRAINING:
            replica.phase = ReplicaPhase.READY
        self._touch(accelerator.node)
        self._state.plan_wanted = True

    def drain(self, event: NodeDrainRequested, now: float) -> None:
        """The node takes nothing new, or takes work again. What runs there goes on."""
        node = self._state.nodes[event.node]
        if event.undrain and node.state is NodeState.DRAINING:
            node.state = NodeState.UP if node.instance_id else NodeState.ABSENT
        elif not event.undrain:
            node.state = NodeState.DRAINING
            self._lifecycle.unplace([a.spec.name for a in self._on(event.node)], now)
        self._touch(event.node)
        self._state.plan_wanted = True

    def expire_leases(self, now: float, outcome: Outcome) -> None:
        """Nodes not heard of for a lease's time are lost, and so is what ran there.

        After a restart of the scheduler nodes have longer to come back, since they try again ever more slowly.
        """
        for name, node in self._state.nodes.items():
            known = node.state in (NodeState.UP, NodeState.DRAINING) and node.instance_id
            awaited = node.state is NodeState.ABSENT and any(a.running for a in self._on(name))
            patience_s = self._state.config.lease_ttl_s * (1 if known else LEASES_TO_COME_BACK)
            if (known or awaited) and now - node.last_seen_s > patience_s:
                self._forget(name, f"not heard of for {patience_s:g} s", now, outcome)
                node.state, node.instance_id = NodeState.LOST, ""
                self._state.plan_wanted = True

    def _forget(self, name: str, detail: str, now: float, outcome: Outcome) -> None:
        """Nothing on the node is believed any more; its attempts have failed."""
        self._state.nodes[name].reported = False
        for accelerator in self._on(name):
            accelerator.replicas.clear()
            accelerator.retired.clear()
            for key, attempt in list(accelerator.running.items()):
                failed = AttemptFailed(key, attempt.id, Reason.NODE_LOST, detail, retryable=True)
                self._lifecycle.fail_attempt(failed, now, outcome)
        self._lifecycle.unplace([a.spec.name for a in self._on(name)], now)

    def _apply(self, report: ReplicaReport, now: float) -> None:
        accelerator = self._state.accelerators.get(report.accelerator)
        if accelerator is None or report.generation <= accelerator.retired.get(report.model, -1):
            return
        known = accelerator.replicas.get(report.model)
        if known is not None and known.generation > report.generation:
            return
        if report.phase is ReplicaPhase.FAILED:
            self._load_failed(accelerator, report.model, report.generation, now)
            return
        if known is None or known.generation < report.generation:
            known = self._adopt(accelerator, report, now)
        if known.phase is not ReplicaPhase.DRAINING:
            known.phase = report.phase
        if report.phase is ReplicaPhase.READY:
            accelerator.load_failures.pop(report.model, None)
            known.ready_at_s = min(known.ready_at_s, now)

    def _adopt(self, accelerator: AcceleratorRecord, report: ReplicaReport, now: float) -> ReplicaRecord:
        """A replica that an earlier scheduler had loaded."""
        start_s = self._state.config.fleet.models[report.model].speeds[accelerator.spec.kind].start_s
        ready_at_s = now if report.phase is ReplicaPhase.READY else now + max(0.0, start_s - report.load_s)
        replica = ReplicaRecord(report.model, report.generation, report.phase, report.kv_pool_bytes, ready_at_s, now)
        accelerator.replicas[report.model] = replica
        return replica

    def _reconcile(self, node: NodeRecord, event: NodeStatusReported, now: float, outcome: Outcome) -> None:
        """The first status of an instance: attempts we know are followed, missing ones have failed."""
        reported = {attempt.attempt_id for attempt in event.attempts}
        for attempt_id in sorted(reported & self._state.attempts.keys()):
            outcome.effects.append(FollowAttempt(node.spec.name, self._state.attempts[attempt_id], attempt_id))
        for accelerator in self._on(node.spec.name):
            for key, known in list(accelerator.running.items()):
                if known.id not in reported:
                    detail = "the node does not know the attempt"
                    gone = AttemptFailed(key, known.id, Reason.NODE_LOST, detail, retryable=True)
                    self._lifecycle.fail_attempt(gone, now, outcome)

    def _drop_strangers(self, event: NodeStatusReported, outcome: Outcome) -> None:
        """Attempts that nobody waits for any more are stopped where they run, and forgotten where they have ended."""
        for attempt in event.attempts:
            if attempt.attempt_id in self._state.attempts:
                continue
            if attempt.running:
                outcome.effects.append(CancelAttempt(event.node, attempt.attempt_id))
            else:
                outcome.effects.append(AcknowledgeAttempts(event.node, (attempt.attempt_id,)))

    def _load_failed(self, accelerator: AcceleratorRecord, model: str, generation: int, now: float) -> None:
        """The engine is gone. The next load of this model here waits, longer each time."""
        self._retire(accelerator, model, generation)
        failures = accelerator.load_failures.get(model, 0) + 1
        accelerator.load_failures[model] = failures
        delay_s = min(LONGEST_LOAD_RETRY_S, FIRST_LOAD_RETRY_S * 2 ** (failures - 1))
        accelerator.no_load_before_s[model] = now + delay_s
        self._lifecycle.unplace([accelerator.spec.name], now)
        self._state.plan_wanted = True

    def _retire(self, accelerator: AcceleratorRecord, model: str, generation: int) -> None:
        replica = accelerator.replicas.get(model)
        if replica is not None and replica.generation <= generation:
            del accelerator.replicas[model]
        accelerator.retired[model] = max(generation, accelerator.retired.get(model, -1))

    def _touch(self, node: str) -> None:
        """Accelerators of one node wait for each other's loads."""
        self._state.touched.update(a.spec.name for a in self._on(node))

    def _on(self, node: str) -> list[AcceleratorRecord]:
        return [a for a in self._state.accelerators.values() if a.node == node]
