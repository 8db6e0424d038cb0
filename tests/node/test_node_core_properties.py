"""No sequence of commands overcharges an accelerator or takes a busy replica away.

One of the models takes two accelerators at once: no member of a group is ever over its memory, either.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from node_builders import make_model, make_node

from maestro.errors import MaestroError
from maestro.snapshot import ReplicaPhase
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import Replica, ReplicaKey

MODELS = {
    "a": make_model("a", weights_bytes=20_000, max_batch=2),
    "b": make_model("b", weights_bytes=30_000),
    "c": make_model("c", weights_bytes=45_000, max_batch=3),
    "wide": make_model("wide", weights_bytes=81_001, size=2),
}
KEPT_RESULTS = 3
ACCELERATORS = ["n1/0", "n1/1", "n1/2"]
KEYS = st.builds(ReplicaKey, st.sampled_from(ACCELERATORS), st.sampled_from(list(MODELS)), st.integers(1, 4))
PEERS = st.sampled_from([(), (), ("n1/1",), ("n1/1",), ("n1/2",), ("n1/1", "n1/2"), ("elsewhere",)])
SIZES = st.integers(-1, 20_000)
NAMES = st.sampled_from([f"attempt{index}" for index in range(12)])
STEPS = (
    lambda core, key: core.mark_ready(key, 1.0),
    lambda core, key: core.begin_unload(key),
    lambda core, key: core.finish_unload(key),
    lambda core, key: core.fail(key, "broken"),
    lambda core, key: core.finish_failure(key),
    lambda core, key: core.begin_sleep(key),
    lambda core, key: core.finish_sleep(key),
    lambda core, key: core.begin_wake(key, 2.0),
)
"""The steps in the life of a replica, allowed or not."""


class NodeUnderFire(RuleBasedStateMachine):
    """Any command at any time, sensible or not."""

    @initialize(kv_elastic=st.booleans())
    def begin(self, kv_elastic: bool) -> None:
        self.node = make_node(
            kv_elastic=kv_elastic, memory_bytes=90_000, slots=4, host_memory_bytes=100_000, accelerators=3
        )
        self.core = NodeCore(self.node, MODELS, kept_results=KEPT_RESULTS)

    def attempt(self, command: Callable[[], object]) -> None:
        """Give a command; where it is refused, nothing may have changed."""
        before = (self.core.version, dict(self.core.ledgers), tuple(self.core.attempts))
        try:
            command()
        except MaestroError:
            assert before == (self.core.version, dict(self.core.ledgers), tuple(self.core.attempts))

    @rule(key=KEYS, pool_bytes=SIZES, peers=PEERS)
    def load(self, key: ReplicaKey, pool_bytes: int, peers: tuple[str, ...]) -> None:
        self.attempt(lambda: self.core.begin_load(key, pool_bytes, 0.0, peers))

    @rule(generation=st.integers(1, 4))
    def load_the_wide_one(self, generation: int) -> None:
        pool_bytes = 0 if self.node.accelerators[0].kv_elastic else 15_001
        key = ReplicaKey("n1/0", "wide", generation)
        self.attempt(lambda: self.core.begin_load(key, pool_bytes, 0.0, ("n1/1",)))

    @rule(key=KEYS, step=st.sampled_from(STEPS))
    def live_on(self, key: ReplicaKey, step: Callable[[NodeCore, ReplicaKey], object]) -> None:
        busy = {item.replica for item in self.core.attempts if item.state is AttemptState.RUNNING}
        self.attempt(lambda: step(self.core, key))
        still_busy = {item.replica for item in self.core.attempts if item.state is AttemptState.RUNNING}
        for kept in busy & still_busy:
            assert self.core.replica(kept).phase is ReplicaPhase.READY

    @rule(pick=st.integers(0, 10), step=st.sampled_from(STEPS))
    def live_on_for_one_that_is_there(self, pick: int, step: Callable[[NodeCore, ReplicaKey], object]) -> None:
        keys = [replica.key for ledger in self.core.ledgers.values() for replica in ledger.replicas.values()]
        if keys:
            self.live_on(keys[pick % len(keys)], step)

    @rule(name=NAMES, pick=st.integers(0, 10), size=SIZES, fingerprint=st.sampled_from("fg"))
    def admit(self, name: str, pick: int, size: int, fingerprint: str) -> None:
        keys = [replica.key for ledger in self.core.ledgers.values() for replica in ledger.replicas.values()]
        if keys:
            self.attempt(lambda: self.core.admit(Attempt(name, keys[pick % len(keys)], size, fingerprint)))

    @rule(name=NAMES, state=st.sampled_from([AttemptState.FINISHED, AttemptState.FAILED]))
    def end(self, name: str, state: AttemptState) -> None:
        self.attempt(lambda: self.core.end_attempt(name, state))

    @rule(names=st.lists(NAMES, max_size=3))
    def acknowledge(self, names: list[str]) -> None:
        self.attempt(lambda: self.core.acknowledge(names))

    @rule(key=KEYS, size=SIZES)
    def set_budget(self, key: ReplicaKey, size: int) -> None:
        self.attempt(lambda: self.core.set_kv_budget(key, size))

    @invariant()
    def no_accelerator_is_overcharged(self) -> None:
        charged = dict.fromkeys(self.core.ledgers, 0)
        for ledger in self.core.ledgers.values():
            for replica in ledger.replicas.values():
                if replica.phase in {ReplicaPhase.LOADING, ReplicaPhase.READY}:
                    assert replica.on_device
                members = (replica.key.accelerator, *replica.peers)
                assert len(members) == replica.model.tensor_parallel_size
                for name in members if replica.on_device else ():
                    charged[name] += self.share_bytes(replica, len(members))
        for name, ledger in self.core.ledgers.items():
            assert charged[name] == ledger.charged_bytes <= ledger.spec.memory_bytes

    @staticmethod
    def share_bytes(replica: Replica, members: int) -> int:
        """What each accelerator holds: rounded up for what always lies there, and for each elastic reservation."""
        fixed = replica.model.weights_bytes + replica.model.overhead_bytes + replica.kv_pool_bytes
        elastic = [] if replica.kv_pool_bytes else list(replica.reservations.values())
        return sum(math.ceil(amount / members) for amount in (fixed, *elastic))

    @invariant()
    def places_and_pools_suffice(self) -> None:
        for ledger in self.core.ledgers.values():
            assert ledger.running_attempts <= ledger.spec.slots
            assert ledger.running_attempts == sum(
                len(replica.reservations) for replica in self.takers(ledger.spec.name)
            )
            for replica in ledger.replicas.values():
                assert len(replica.reservations) <= replica.model.max_batch
                assert ledger.spec.kv_elastic or replica.reserved_bytes <= replica.kv_pool_bytes

    def takers(self, accelerator: str) -> list[Replica]:
        """The replicas that take an accelerator, as the ledgers of those that name them say."""
        found = [replica for ledger in self.core.ledgers.values() for replica in ledger.replicas.values()]
        return [replica for replica in found if accelerator in (replica.key.accelerator, *replica.peers)]

    @invariant()
    def host_memory_suffices(self) -> None:
        assert self.core.host_bytes <= self.node.host_memory_bytes

    @invariant()
    def reservations_are_those_of_running_attempts(self) -> None:
        reserved = {
            (name, replica.key)
            for ledger in self.core.ledgers.values()
            for replica in ledger.replicas.values()
            for name in replica.reservations
        }
        running = {(item.id, item.replica) for item in self.core.attempts if item.state is AttemptState.RUNNING}
        assert reserved == running

    @invariant()
    def kept_results_are_bounded(self) -> None:
        assert sum(item.state is not AttemptState.RUNNING for item in self.core.attempts) <= KEPT_RESULTS


TestNodeUnderFire = NodeUnderFire.TestCase
TestNodeUnderFire.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
