"""The node's rules: what fits, what is stale, what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_builders import POOL_BYTES, make_model, make_node

from maestro.errors import ConflictError, InvalidInputError
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.refusals import DoesNotFitError, NotReadyError, StaleCommandError, UnknownAttemptError
from maestro_node.core.replica import ReplicaKey

KEY = ReplicaKey("n1/0", "small", 1)
OTHER = ReplicaKey("n1/0", "other", 1)


def make_core(**node: int | bool) -> NodeCore:
    models = {"small": make_model(), "other": make_model("other"), "wide": make_model("wide", max_batch=100)}
    return NodeCore(make_node(**node), models)


def ready(core: NodeCore, key: ReplicaKey = KEY, pool_bytes: int = POOL_BYTES) -> NodeCore:
    core.begin_load(key, pool_bytes, now_s=0.0)
    core.mark_ready(key, now_s=2.5)
    return core


def attempt(name: str, reserved_bytes: int = 1_000, key: ReplicaKey = KEY, fingerprint: str = "f") -> Attempt:
    return Attempt(name, key, reserved_bytes, fingerprint)


def test_a_replica_charges_weights_overhead_and_pool() -> None:
    core = make_core()
    core.begin_load(KEY, POOL_BYTES, now_s=0.0)
    assert core.ledgers["n1/0"].charged_bytes == 31_000
    assert core.replica(KEY).phase is ReplicaPhase.LOADING


def test_a_load_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    core = ready(make_core(memory_bytes=61_999))
    version = core.version
    with pytest.raises(DoesNotFitError, match="61999 bytes and would be charged 62000") as refusal:
        core.begin_load(OTHER, POOL_BYTES, now_s=0.0)
    assert refusal.value.reason is Reason.MEMORY_EXCEEDED
    assert core.version == version


def test_loading_a_generation_twice_is_one_load() -> None:
    core = make_core()
    assert core.begin_load(KEY, POOL_BYTES, now_s=0.0)
    assert not core.begin_load(KEY, POOL_BYTES, now_s=9.0)
    assert core.replica(KEY).load_began_s == 0.0


@pytest.mark.parametrize("generation", [1, 2])
def test_an_older_or_used_generation_is_stale(generation: int) -> None:
    core = make_core()
    used = KEY._replace(generation=2)
    ready(core, used)
    core.begin_unload(used)
    core.finish_unload(used)
    with pytest.raises(StaleCommandError, match="use a larger one"):
        core.begin_load(KEY._replace(generation=generation), POOL_BYTES, now_s=0.0)


def test_a_new_generation_waits_until_the_former_one_is_unloaded() -> None:
    core = ready(make_core())
    with pytest.raises(StaleCommandError, match="unload it first"):
        core.begin_load(KEY._replace(generation=2), POOL_BYTES, now_s=0.0)


def test_a_command_of_an_older_scheduler_is_stale() -> None:
    core = make_core()
    core.obey(7)
    with pytest.raises(StaleCommandError, match="scheduler_epoch 6 is older than 7"):
        core.obey(6)


@pytest.mark.parametrize(
    ("key", "pool_bytes", "field"),
    [
        (ReplicaKey("n1/0", "nobody", 1), POOL_BYTES, "replica.model"),
        (ReplicaKey("n9/9", "small", 1), POOL_BYTES, "replica.accelerator"),
        (KEY, 0, "kv_pool_bytes"),
    ],
)
def test_a_load_that_makes_no_sense_names_its_field(key: ReplicaKey, pool_bytes: int, field: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        make_core().begin_load(key, pool_bytes, now_s=0.0)
    assert error.value.field == field


def test_elastic_kv_takes_no_pool() -> None:
    with pytest.raises(InvalidInputError, match="KV is elastic here"):
        make_core(kv_elastic=True).begin_load(KEY, POOL_BYTES, now_s=0.0)


def test_elastic_reservations_share_the_device_with_weights() -> None:
    core = ready(make_core(kv_elastic=True, memory_bytes=30_000), pool_bytes=0)
    core.admit(attempt("a", 8_000))
    assert core.ledgers["n1/0"].charged_bytes == 29_000
    with pytest.raises(DoesNotFitError):
        core.admit(attempt("b", 1_001))
    core.end_attempt("a", AttemptState.FINISHED)
    assert core.admit(attempt("b", 1_001))


def test_reservations_fit_the_pool_and_come_back() -> None:
    core = ready(make_core())
    core.admit(attempt("a", 6_000))
    with pytest.raises(DoesNotFitError, match="4000 bytes left of 10000") as refusal:
        core.admit(attempt("b", 4_001))
    assert refusal.value.reason is Reason.WAITING_FOR_KV
    core.end_attempt("a", AttemptState.FINISHED)
    assert core.admit(attempt("b", 10_000))


def test_a_budget_limits_admission_and_frees_no_device_memory() -> None:
    core = ready(make_core())
    core.admit(attempt("a", 3_000))
    charged = core.ledgers["n1/0"].charged_bytes
    core.set_kv_budget(KEY, 3_500)
    assert core.ledgers["n1/0"].charged_bytes == charged
    with pytest.raises(DoesNotFitError):
        core.admit(attempt("b", 501))
    assert core.admit(attempt("c", 500))


def test_a_budget_over_the_pool_does_not_widen_the_pool() -> None:
    core = ready(make_core())
    core.set_kv_budget(KEY, 10 * POOL_BYTES)
    with pytest.raises(DoesNotFitError):
        core.admit(attempt("a", POOL_BYTES + 1))


def test_batch_places_and_accelerator_slots_are_limits() -> None:
    core = ready(make_core(slots=5))
    for index in range(4):
        core.admit(attempt(f"a{index}", 10))
    with pytest.raises(DoesNotFitError, match="4 places of its batch") as refusal:
        core.admit(attempt("b", 10))
    assert refusal.value.reason is Reason.WAITING_FOR_BATCH_SLOT
    ready(core, OTHER)
    core.admit(attempt("c", 10, OTHER))
    with pytest.raises(DoesNotFitError, match="5 slots are taken"):
        core.admit(attempt("d", 10, OTHER))


@pytest.mark.parametrize("command", ["begin_unload", "begin_sleep"])
def test_a_busy_replica_is_neither_unloaded_nor_put_to_sleep(command: str) -> None:
    core = ready(make_core())
    core.admit(attempt("a"))
    with pytest.raises(NotReadyError, match="runs 1 attempt") as refusal:
        getattr(core, command)(KEY)
    assert refusal.value.reason is Reason.WAITING_FOR_DRAIN
    assert core.replica(KEY).phase is ReplicaPhase.READY


def test_memory_is_charged_until_the_engine_is_gone() -> None:
    core = ready(make_core())
    assert core.begin_unload(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 31_000
    with pytest.raises(NotReadyError):
        core.admit(attempt("a"))
    core.finish_unload(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 0
    assert not core.begin_unload(KEY)


def test_a_broken_engine_ends_its_attempts_first_and_frees_memory_last() -> None:
    core = ready(make_core())
    core.admit(attempt("a"))
    core.admit(attempt("b"))
    assert core.fail(KEY, "killed") == ("a", "b")
    assert {item.state for item in core.attempts} == {AttemptState.FAILED}
    assert core.ledgers["n1/0"].charged_bytes == 31_000
    core.finish_failure(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 0
    assert (core.replica(KEY).phase, core.replica(KEY).detail) == (ReplicaPhase.FAILED, "killed")
    assert core.begin_load(KEY._replace(generation=2), POOL_BYTES, now_s=0.0)


def test_a_sleeping_replica_moves_from_the_device_to_host_memory_and_back() -> None:
    core = ready(make_core())
    core.begin_sleep(KEY)
    assert (core.ledgers["n1/0"].charged_bytes, core.host_bytes) == (31_000, 20_000)
    core.finish_sleep(KEY)
    assert (core.ledgers["n1/0"].charged_bytes, core.host_bytes) == (0, 20_000)
    core.begin_wake(KEY, now_s=5.0)
    assert (core.ledgers["n1/0"].charged_bytes, core.host_bytes) == (31_000, 20_000)
    core.mark_ready(KEY, now_s=6.0)
    assert (core.ledgers["n1/0"].charged_bytes, core.host_bytes) == (31_000, 0)


def test_a_sleeping_engine_is_charged_for_what_it_keeps_of_the_device() -> None:
    core = ready(NodeCore(make_node(), {"small": replace(make_model(), sleeping_bytes=700)}))
    core.begin_sleep(KEY)
    core.finish_sleep(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 700
    core.begin_unload(KEY)
    core.finish_unload(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 0


def test_a_replica_wakes_only_where_it_fits_again() -> None:
    core = ready(make_core(memory_bytes=31_000))
    core.begin_sleep(KEY)
    core.finish_sleep(KEY)
    ready(core, OTHER)
    with pytest.raises(DoesNotFitError):
        core.begin_wake(KEY, now_s=1.0)
    assert core.replica(KEY).phase is ReplicaPhase.SLEEPING
    assert core.begin_unload(KEY)


def test_sleeping_weights_stay_within_host_memory() -> None:
    core = ready(ready(make_core(host_memory_bytes=39_999)), OTHER)
    core.begin_sleep(KEY)
    with pytest.raises(DoesNotFitError, match="host memory"):
        core.begin_sleep(OTHER)


def test_a_replica_that_breaks_while_it_falls_asleep_is_not_called_sleeping() -> None:
    core = ready(make_core())
    core.begin_sleep(KEY)
    core.fail(KEY, "killed")
    with pytest.raises(NotReadyError, match="broke down"):
        core.finish_sleep(KEY)
    assert core.ledgers["n1/0"].charged_bytes == 31_000


def test_the_same_attempt_runs_once() -> None:
    core = ready(make_core())
    assert core.admit(attempt("a"))
    assert not core.admit(attempt("a"))
    assert core.replica(KEY).reserved_bytes == 1_000
    core.end_attempt("a", AttemptState.FINISHED)
    assert not core.admit(attempt("a"))


def test_an_attempt_id_names_one_request_only() -> None:
    core = ready(make_core())
    core.admit(attempt("a"))
    with pytest.raises(ConflictError, match="another request"):
        core.admit(attempt("a", fingerprint="g"))


def test_the_first_end_of_an_attempt_counts() -> None:
    core = ready(make_core())
    core.admit(attempt("a"))
    core.end_attempt("a", AttemptState.FINISHED)
    core.end_attempt("a", AttemptState.FAILED)
    assert core.attempts.find("a").state is AttemptState.FINISHED


def test_an_acknowledged_attempt_is_forgotten_and_never_run_again() -> None:
    core = ready(make_core())
    core.admit(attempt("a"))
    with pytest.raises(ConflictError, match="still runs"):
        core.acknowledge(["a"])
    core.end_attempt("a", AttemptState.FINISHED)
    assert core.acknowledge(["a", "a", "unheard-of"]) == ("a",)
    assert core.acknowledge(["a"]) == ()
    with pytest.raises(UnknownAttemptError):
        core.attempts.find("a")
    with pytest.raises(ConflictError, match="acknowledged"):
        core.admit(attempt("a"))


def test_at_the_bound_the_result_that_ended_first_is_dropped() -> None:
    core = NodeCore(make_node(), {"small": make_model()}, kept_results=2)
    ready(core)
    dropped = []
    for name in ("a", "b", "c"):
        core.admit(attempt(name))
        dropped += core.end_attempt(name, AttemptState.FINISHED)
    assert dropped == ["a"]
    assert {item.id for item in core.attempts} == {"b", "c"}


@pytest.mark.parametrize(("name", "reserved"), [("", 10), ("a", 0), ("a", -5)])
def test_an_attempt_without_id_or_reservation_is_invalid(name: str, reserved: int) -> None:
    with pytest.raises(InvalidInputError):
        ready(make_core()).admit(attempt(name, reserved))
