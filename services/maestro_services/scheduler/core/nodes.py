"""What becomes of nodes: they register, report, drain, are lost and come back, and what runs there with them."""

from __future__ import annotations

from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro_services.scheduler.core.events import (
    AttemptFailed,
    AttemptReport,
    AttemptStopped,
    NodeDrainRequested,
    NodeRegistered,
    NodeStatusReported,
    NodeUnreachable,
)
from maestro_services.scheduler.core.lifecycle import Lifecycle
from maestro_services.scheduler.core.outcome import (
    AcknowledgeAttempts,
    CancelAttempt,
    FollowAttempt,
    ForgetNode,
    Outcome,
    SaveDrainedNodes,
)
from maestro_services.scheduler.core.records import NodeRecord
from maestro_services.scheduler.core.replicas import Replicas
from maestro_services.scheduler.core.state import SchedulerState

LEASES_TO_COME_BACK = 4
LONGEST_TICK_S = 2.0


class Nodes:
    """Applies what is heard of nodes."""

    def __init__(self, state: SchedulerState, lifecycle: Lifecycle, replicas: Replicas) -> None:
        """``lifecycle`` is told of attempts that are gone, ``replicas`` of what a node says it has."""
        self._state = state
        self._lifecycle = lifecycle
        self._replicas = replicas

    def register(self, event: NodeRegistered, now: float, outcome: Outcome) -> None:
        """A node announced itself. Another instance than before has none of the old one's engines or attempts.

        Nothing new is sent to it before it has reported, so that what it has is known.
        """
        node = self._state.nodes[event.node]
        if node.instance_id and node.instance_id != event.instance_id:
            self._forget(node, "the node was restarted", now, outcome)
        node.instance_id, node.address, node.models = event.instance_id, event.address, self._servable(event)
        node.lease_generation += 1
        node.last_seen_s = now
        node.reported = node.lost = False
        self._state.plan_wanted = True

    def _servable(self, event: NodeRegistered) -> frozenset[str]:
        """The models that the node has weights of and an engine for."""
        models = self._state.config.fleet.models
        sizes = {name: models[name].tensor_parallel_size if name in models else 1 for name in event.models}
        return frozenset(name for name, size in sizes.items() if size == 1 or event.tensor_parallel)

    def report(self, event: NodeStatusReported, now: float, outcome: Outcome) -> None:
        """Takes over a node's view of its replicas and attempts."""
        node = self._state.nodes[event.node]
        if event.instance_id != node.instance_id:
            return
        node.last_seen_s = now
        self._replicas.report(event, now, outcome)
        if not node.reported:
            node.reported = True
            self._reconcile(node, event, now, outcome)
            self._state.plan_wanted = True
        self._finish_stops(event)
        self._drop_strangers(event, outcome)
        self._state.touch_node(event.node)

    def drain(self, event: NodeDrainRequested, now: float, outcome: Outcome) -> None:
        """The node takes nothing new, or takes work again. What runs there goes on. This outlives the scheduler."""
        node = self._state.nodes[event.node]
        node.draining = not event.undrain
        if node.draining:
            self._lifecycle.unplace([a.spec.name for a in self._state.on_node(event.node)], now)
        outcome.effects.append(
            SaveDrainedNodes(frozenset(n.spec.name for n in self._state.nodes.values() if n.draining))
        )
        self._state.touch_node(event.node)
        self._state.plan_wanted = True

    def unreachable(self, event: NodeUnreachable, now: float, outcome: Outcome) -> None:
        """A node that sends heartbeats cannot be reached: nothing can be carried out there."""
        node = self._state.nodes[event.node]
        if event.instance_id == node.instance_id:
            self._lose(node, "it could not be reached", now, outcome)

    def expire_leases(self, now: float, outcome: Outcome) -> None:
        """Nodes not heard of for a lease's time are lost, and so is what ran there.

        After a restart of the scheduler nodes have longer to come back, since they try again ever more slowly. A
        scheduler that stood still itself, and so heard nobody, gives all of them a new lease.
        """
        ttl_s = self._state.config.lease_ttl_s
        stood_still = self._state.last_tick_s > 0.0 and now - self._state.last_tick_s > LONGEST_TICK_S
        self._state.last_tick_s = now
        for node in self._state.nodes.values():
            if stood_still:
                node.last_seen_s = now
            awaited = not node.instance_id and any(a.stages_held for a in self._state.on_node(node.spec.name))
            patience_s = ttl_s * (LEASES_TO_COME_BACK if awaited else 1)
            if (node.instance_id or awaited) and now - node.last_seen_s > patience_s:
                self._lose(node, f"not heard of for {patience_s:g} s", now, outcome)

    def _lose(self, node: NodeRecord, detail: str, now: float, outcome: Outcome) -> None:
        self._forget(node, detail, now, outcome)
        node.lost, node.instance_id = True, ""
        outcome.effects.append(ForgetNode(node.spec.name))
        self._state.plan_wanted = True

    def _forget(self, node: NodeRecord, detail: str, now: float, outcome: Outcome) -> None:
        """Nothing on the node is believed any more; its attempts have failed."""
        node.reported = False
        accelerators = self._state.on_node(node.spec.name)
        for accelerator in accelerators:
            self._replicas.forget(accelerator)
            for key, attempt in list(accelerator.running.items()):
                failed = AttemptFailed(key, attempt.id, Reason.NODE_LOST, detail, retryable=True)
                self._lifecycle.fail_attempt(failed, now, outcome)
            for attempt_id in list(accelerator.stopping):
                self._lifecycle.free_stopped(accelerator, attempt_id)
        self._lifecycle.unplace([accelerator.spec.name for accelerator in accelerators], now)

    def _reconcile(self, node: NodeRecord, event: NodeStatusReported, now: float, outcome: Outcome) -> None:
        """The first status after a registration: attempts we know are followed.

        Those of an earlier scheduler that the node does not have were never sent, or are lost. Our own are followed
        already, and whoever follows them finds out.
        """
        reported = {attempt.attempt_id for attempt in event.attempts}
        for attempt_id in sorted(reported & self._state.attempts.keys()):
            outcome.effects.append(FollowAttempt(node.spec.name, self._state.attempts[attempt_id], attempt_id))
        for accelerator in self._state.on_node(node.spec.name):
            for key, known in list(accelerator.running.items()):
                if known.recovered and known.id not in reported:
                    detail = "the node does not know the attempt"
                    gone = AttemptFailed(key, known.id, Reason.NODE_LOST, detail, retryable=True)
                    self._lifecycle.fail_attempt(gone, now, outcome)

    def _see_progress(self, key: StageKey, report: AttemptReport) -> None:
        stage = self._state.stage(key)
        if stage is not None and stage.attempt is not None:
            stage.attempt.produced_tokens = max(stage.attempt.produced_tokens, report.completion_tokens)

    def _finish_stops(self, event: NodeStatusReported) -> None:
        """Attempts that were told to stop and run no more have given their places back, whatever was lost."""
        shown = {attempt.attempt_id: attempt for attempt in event.attempts}
        for accelerator in self._state.on_node(event.node):
            for attempt_id in list(accelerator.stopping):
                attempt = shown.get(attempt_id)
                if attempt is None or not attempt.running:
                    tokens = attempt.completion_tokens if attempt is not None else 0
                    self._lifecycle.finish_stop(AttemptStopped(attempt_id, tokens))

    def _drop_strangers(self, event: NodeStatusReported, outcome: Outcome) -> None:
        """Attempts that nobody waits for any more are stopped where they run, and forgotten where they have ended."""
        for attempt in event.attempts:
            known = self._state.attempts.get(attempt.attempt_id)
            if known is not None:
                self._see_progress(known, attempt)
                continue
            if attempt.running:
                outcome.effects.append(CancelAttempt(event.node, attempt.attempt_id))
            else:
                outcome.effects.append(AcknowledgeAttempts(event.node, (attempt.attempt_id,)))
