"""Replicas that take several accelerators of a node at once: charged on each of them, or refused as a whole."""

from __future__ import annotations

import pytest
from node_builders import POOL_BYTES, make_model, make_node

from maestro.errors import ConflictError, InvalidInputError
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.refusals import DoesNotFitError, NotReadyError
from maestro_node.core.replica import ReplicaKey

WIDE = ReplicaKey("n1/0", "wide", 1)
PEERS = ("n1/1",)
BESIDE = ReplicaKey("n1/1", "small", 1)


def make_core(**node: int | bool) -> NodeCore:
    models = {"small": make_model(max_batch=100), "wide": make_model("wide", weights_bytes=40_001, size=2)}
    return NodeCore(make_node(**{"accelerators": 3, **node}), models)


def charged(core: NodeCore) -> list[int]:
    return [ledger.charged_bytes for ledger in core.ledgers.values()]


def load(core: NodeCore, key: ReplicaKey = WIDE, peers: tuple[str, ...] = PEERS, *, elastic: bool = False) -> NodeCore:
    core.begin_load(key, 0 if elastic else POOL_BYTES, 0.0, peers)
    core.mark_ready(key, 1.0)
    return core


def attempt(name: str, size: int = 1_001, key: ReplicaKey = WIDE) -> Attempt:
    return Attempt(name, key, size, "f")


def test_each_accelerator_is_charged_an_equal_share_rounded_up() -> None:
    core = make_core()
    assert core.begin_load(WIDE, POOL_BYTES, 0.0, PEERS)
    assert charged(core) == [25_501, 25_501, 0]
    assert not core.begin_load(WIDE, POOL_BYTES, 9.0, PEERS)


@pytest.mark.parametrize("full", ["n1/0", "n1/1"])
def test_a_load_that_does_not_fit_one_of_its_accelerators_is_charged_to_none(full: str) -> None:
    core = make_core(memory_bytes=56_000)
    load(core, ReplicaKey(full, "small", 1), ())
    before, version = charged(core), core.version
    with pytest.raises(DoesNotFitError, match=f'"{full}" has 56000 bytes and would be charged 56501') as refusal:
        core.begin_load(WIDE, POOL_BYTES, 0.0, PEERS)
    assert refusal.value.reason is Reason.MEMORY_EXCEEDED
    assert (charged(core), core.version) == (before, version)


@pytest.mark.parametrize(
    ("key", "peers", "message"),
    [
        (WIDE, (), r"peers: are not the accelerators .*tensor_parallel_size 2, .*\(got 'none'\); name: n1/1"),
        (WIDE, ("n1/2",), r"\(got 'n1/2'\); name: n1/1"),
        (ReplicaKey("n1/1", "wide", 1), ("n1/2",), r"load it on one of: n1/0"),
        (BESIDE, ("n1/2",), r"tensor_parallel_size 1, .*name: none"),
    ],
)
def test_peers_that_are_not_the_models_own_are_refused(key: ReplicaKey, peers: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make_core().begin_load(key, POOL_BYTES, 0.0, peers)


def test_a_node_with_too_few_accelerators_says_so() -> None:
    with pytest.raises(InvalidInputError, match="load it on one of: no accelerator of this node"):
        make_core(accelerators=1).begin_load(WIDE, POOL_BYTES, 0.0, PEERS)


def test_an_attempt_takes_a_slot_of_every_accelerator() -> None:
    core = load(load(make_core(slots=2)), BESIDE, ())
    core.admit(attempt("a"))
    core.admit(attempt("b", key=BESIDE))
    with pytest.raises(DoesNotFitError, match='"n1/1": all 2 slots are taken'):
        core.admit(attempt("c"))
    assert [ledger.running_attempts for ledger in core.ledgers.values()] == [1, 2, 0]
    core.end_attempt("b", AttemptState.FINISHED)
    assert core.admit(attempt("d"))


def test_an_elastic_reservation_is_shared_by_the_accelerators_and_returned_to_each() -> None:
    core = load(make_core(kv_elastic=True), elastic=True)
    core.admit(attempt("a"))
    assert charged(core) == [20_501 + 501, 20_501 + 501, 0]
    core.end_attempt("a", AttemptState.FINISHED)
    assert charged(core) == [20_501, 20_501, 0]


def test_an_elastic_reservation_that_one_accelerator_has_no_room_for_is_refused() -> None:
    core = load(make_core(kv_elastic=True, memory_bytes=42_000), elastic=True)
    load(core, BESIDE, (), elastic=True)
    with pytest.raises(DoesNotFitError, match='"n1/1" has 42000 bytes and would be charged 42002'):
        core.admit(attempt("a", 1_001))
    assert core.admit(attempt("b", 998))


def test_a_replica_is_known_by_the_first_of_its_accelerators_alone() -> None:
    core = load(make_core())
    with pytest.raises(ConflictError, match='no replica of "wide" is on "n1/1"'):
        core.replica(ReplicaKey("n1/1", "wide", 1))
    assert core.ledgers["n1/1"].replicas == {}


def test_all_accelerators_are_free_again_once_the_engine_is_gone() -> None:
    core = load(make_core())
    core.admit(attempt("a"))
    with pytest.raises(NotReadyError, match="runs 1 attempt"):
        core.begin_unload(WIDE)
    core.end_attempt("a", AttemptState.FINISHED)
    assert core.begin_unload(WIDE)
    core.finish_unload(WIDE)
    assert charged(core) == [0, 0, 0]


def test_an_engine_that_breaks_frees_all_accelerators_and_is_shown_on_the_first() -> None:
    core = load(make_core())
    core.admit(attempt("a"))
    assert core.fail(WIDE, "broken") == ("a",)
    assert charged(core) == [25_501, 25_501, 0]
    core.finish_failure(WIDE)
    assert charged(core) == [0, 0, 0]
    assert core.replica(WIDE).phase is ReplicaPhase.FAILED
    assert core.begin_load(WIDE._replace(generation=2), POOL_BYTES, 2.0, PEERS)


def test_sleeping_weights_count_once_in_host_memory_and_come_back_to_every_accelerator() -> None:
    core = load(make_core(host_memory_bytes=50_000))
    core.begin_sleep(WIDE)
    core.finish_sleep(WIDE)
    assert (core.host_bytes, charged(core)) == (40_001, [0, 0, 0])
    load(core, BESIDE, ())
    core.begin_wake(WIDE, 5.0)
    core.mark_ready(WIDE, 6.0)
    assert (core.host_bytes, charged(core)) == (0, [25_501, 56_501, 0])
