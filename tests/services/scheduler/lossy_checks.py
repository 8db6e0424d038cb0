"""What always holds in a lossy world, and what holds once it has come to rest."""

from __future__ import annotations

from lossy_node import LossyNode
from lossy_world import World

from maestro.snapshot import ReplicaPhase
from maestro.status import StageState
from maestro.workflow import LlmStage
from maestro_services.scheduler.core.backfill import resident_bytes
from maestro_services.scheduler.core.state import SchedulerState

LONGEST_BLINDNESS_S = 12.0
"""How long the core may believe that an accelerator has more room than it has."""


class Inspector:
    """Looks at the world again and again."""

    def __init__(self) -> None:
        self._too_optimistic_since: dict[str, float] = {}

    def inspect(self, world: World) -> None:
        """Nothing that must always hold is broken."""
        for node in world.nodes.values():
            _assert_ledgers_hold(node)
        if world.scheduler.alive:
            state = world.scheduler.core._state
            _assert_consistent(state)
            self._assert_no_lasting_optimism(world, state)

    def _assert_no_lasting_optimism(self, world: World, state: SchedulerState) -> None:
        """The core never counts more room on an accelerator than there is for long."""
        for name, accelerator in state.accelerators.items():
            node, record = world.nodes[accelerator.node], state.nodes[accelerator.node]
            known = node.alive and record.reported and record.instance_id == node.instance_id
            charged = node.core.ledgers[name].charged_bytes if known else 0
            believed = resident_bytes(accelerator, state.config.fleet.models)
            if accelerator.spec.kv_elastic:
                believed += accelerator.share_held_bytes
            if charged <= believed:
                self._too_optimistic_since.pop(name, None)
                continue
            since_s = self._too_optimistic_since.setdefault(name, world.time.now)
            assert world.time.now - since_s < LONGEST_BLINDNESS_S, f"{name}: {believed} believed, {charged} charged"


def _assert_ledgers_hold(node: LossyNode) -> None:
    for ledger in node.core.ledgers.values():
        assert ledger.charged_bytes <= ledger.spec.memory_bytes
        for replica in ledger.replicas.values():
            assert not replica.is_busy or replica.phase is ReplicaPhase.READY


def _assert_consistent(state: SchedulerState) -> None:
    """Every stage is where its state says it is."""
    places = {attempt.id: key for a in state.accelerators.values() for key, attempt in a.running.items()}
    assert places == state.attempts
    waiting = set(state.ready) | set(state.agenda.place)
    for workflow in state.workflows.values():
        for stage in workflow.stages.values():
            if isinstance(stage.spec, LlmStage):
                assert (stage.attempt is not None) == (stage.state is StageState.RUNNING), stage
                assert not stage.ready or stage.key in waiting, f"{stage.key} is nowhere"
            if stage.attempt is not None:
                assert state.attempts[stage.attempt.id] == stage.key


def assert_at_rest(world: World) -> None:
    """Core and nodes agree, and nothing is under way or kept any more."""
    state = world.scheduler.core._state
    assert not state.workflows
    assert not state.attempts
    for name, accelerator in state.accelerators.items():
        assert not accelerator.occupants(), f"{name} is still held by {accelerator.occupants()}"
        node = world.nodes[accelerator.node]
        there = node.core.ledgers[name].replicas if node.alive else {}
        alive = {r.key.model: (r.key.generation, r.phase) for r in there.values() if r.phase is not ReplicaPhase.FAILED}
        believed = {r.model: (r.generation, r.phase) for r in accelerator.replicas.values()}
        assert believed == alive, f"{name}: the core believes in {believed}, its node has {alive}"
        assert all(phase is ReplicaPhase.READY for _, phase in alive.values()), f"{name}: {alive}"
    for node in (node for node in world.nodes.values() if node.alive):
        kept = [(attempt.id, attempt.state) for attempt in node.core.attempts]
        assert not kept, f"{node.instance_id} keeps {kept}"
