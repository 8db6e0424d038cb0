"""Dispatch policies: each does what its name says, and all keep the same contract."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maestro.snapshot import StageKey, WaitingStage, WorkflowState
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, LoadSite, Resident, Site

SITE = Site("gpu-0", "left", "m", 10.0, 0.0, batch=2, active_models=1, kv_share=0.5, accelerator_load=0.5)
RESIDENT = Resident("m", last_used_s=100.0, running=0, waiting=0, replicas=1)
LOAD = LoadSite("gpu-0", "left", 30.0, (), residents=0, accelerator_load=0.5)


def workflow(**changes: object) -> WorkflowState:
    base = WorkflowState("w", deadline_s=100.0, weight=1.0, age_s=10.0, slo_class="standard", remaining_work_s=50.0)
    return replace(base, **changes)  # type: ignore[arg-type]


def stage(tail_s: float = 20.0) -> WaitingStage:
    return WaitingStage(StageKey("w", "s"), (), (), tail_s)


def is_before(
    policy: str, first: tuple[WorkflowState, WaitingStage], second: tuple[WorkflowState, WaitingStage]
) -> bool:
    order = DISPATCH_POLICIES[policy].order
    return order.order_key(*first) < order.order_key(*second)


@pytest.mark.parametrize("name", sorted(DISPATCH_POLICIES))
def test_every_policy_is_pure_and_chooses_from_what_it_is_given(name: str) -> None:
    policy = DISPATCH_POLICIES[name]
    sites = (SITE, replace(SITE, accelerator="gpu-1", finish_s=9.0, kv_share=0.4))
    loads = (LOAD, replace(LOAD, accelerator="gpu-1", ready_in_s=20.0))
    assert policy.name == name
    assert policy.place(sites) is policy.place(sites)
    assert policy.place(sites) in sites
    assert policy.load(loads) in loads
    assert policy.order.order_key(workflow(), stage()) == policy.order.order_key(workflow(), stage())
    assert policy.evict(RESIDENT) == policy.evict(RESIDENT)


@pytest.mark.parametrize(
    ("policy", "first", "second"),
    [
        ("fcfs", (workflow(age_s=20.0), stage()), (workflow(age_s=5.0), stage())),
        ("edf", (workflow(deadline_s=50.0), stage()), (workflow(deadline_s=60.0), stage())),
        ("llf", (workflow(deadline_s=60.0), stage(40.0)), (workflow(deadline_s=50.0), stage(20.0))),
        ("srpt", (workflow(weight=4.0), stage(30.0)), (workflow(weight=1.0), stage(20.0))),
        ("wspt", (workflow(remaining_work_s=10.0), stage()), (workflow(remaining_work_s=20.0), stage())),
        ("plas", (workflow(service_s=1.0), stage(90.0)), (workflow(service_s=2.0), stage(1.0))),
        ("kairos", (workflow(weight=1.0), stage(10.0)), (workflow(weight=9.0), stage(20.0))),
        ("lru-swap", (workflow(age_s=20.0), stage()), (workflow(age_s=5.0), stage())),
    ],
)
def test_the_order_is_what_the_name_says(
    policy: str, first: tuple[WorkflowState, WaitingStage], second: tuple[WorkflowState, WaitingStage]
) -> None:
    assert is_before(policy, first, second)
    assert not is_before(policy, second, first)


def test_wspt_serves_those_that_cannot_make_it_last() -> None:
    hopeless = (workflow(deadline_s=5.0, remaining_work_s=1.0), stage(10.0))
    assert is_before("wspt", (workflow(remaining_work_s=90.0), stage()), hopeless)


def test_kairos_breaks_ties_by_age_and_takes_the_emptiest_memory() -> None:
    assert is_before("kairos", (workflow(age_s=20.0), stage()), (workflow(age_s=10.0), stage()))
    emptier = replace(SITE, accelerator="gpu-1", kv_share=0.3, finish_s=99.0)
    assert DISPATCH_POLICIES["kairos"].place((SITE, emptier)) is emptier


def test_hierarchical_goes_by_class_then_slack_and_ages() -> None:
    interactive = (workflow(slo_class="interactive", deadline_s=1000.0), stage())
    assert is_before("hierarchical", interactive, (workflow(slo_class="batch", deadline_s=1.0), stage()))
    assert is_before("hierarchical", (workflow(deadline_s=40.0), stage()), (workflow(deadline_s=90.0), stage()))
    assert is_before("hierarchical", (workflow(age_s=500.0), stage()), (workflow(age_s=0.0), stage()))


def test_hierarchical_takes_the_lighter_cluster_then_the_loneliest_accelerator() -> None:
    light = replace(SITE, accelerator="gpu-1", cluster="right", accelerator_load=0.1, active_models=2)
    alone = replace(light, accelerator="gpu-2", active_models=1)
    assert DISPATCH_POLICIES["hierarchical"].place((SITE, light, alone)) is alone


def test_hierarchical_evicts_fewest_models_that_are_waited_for() -> None:
    wanted = replace(LOAD, ready_in_s=1.0, evicted=(replace(RESIDENT, waiting=3),))
    unwanted = replace(LOAD, accelerator="gpu-1", evicted=(RESIDENT,))
    assert DISPATCH_POLICIES["hierarchical"].load((wanted, unwanted)) is unwanted


def test_hierarchical_loads_in_the_cluster_that_is_soonest_whatever_has_to_leave_there() -> None:
    soonest = replace(LOAD, ready_in_s=5.0, evicted=(replace(RESIDENT, waiting=3),))
    gentler = replace(LOAD, accelerator="gpu-1", ready_in_s=9.0)
    empty_but_far = replace(LOAD, accelerator="gpu-2", cluster="right", ready_in_s=6.0)
    load = DISPATCH_POLICIES["hierarchical"].load
    assert load((empty_but_far, soonest)) is soonest
    assert load((empty_but_far, soonest, gentler)) is gentler


def test_hierarchical_evicts_what_is_wanted_soon_last() -> None:
    policy = DISPATCH_POLICIES["hierarchical"]
    assert policy.evict(replace(RESIDENT, last_used_s=1.0, waiting=2)) > policy.evict(RESIDENT)


def test_a_class_of_another_name_ranks_as_standard_under_hierarchical() -> None:
    named = (workflow(slo_class="nightly"), stage())
    assert not is_before("hierarchical", named, (workflow(), stage()))
    assert is_before("hierarchical", named, (workflow(slo_class="batch", deadline_s=1.0), stage()))


@pytest.mark.parametrize("name", ["fcfs", "plas", "lru-swap"])
def test_who_needs_no_prediction_does_not_look_at_one(name: str) -> None:
    order = DISPATCH_POLICIES[name].order
    short, long = (workflow(remaining_work_s=work) for work in (1.0, 900.0))
    assert order.order_key(short, stage())[0] == order.order_key(long, stage())[0]


def test_urgency_is_edf_with_time_to_spare_and_serves_the_lost_last() -> None:
    near, far = (workflow(deadline_s=60.0), stage()), (workflow(deadline_s=600.0), stage())
    assert is_before("urgency", near, far)
    lost = (workflow(deadline_s=5.0, remaining_work_s=1.0), stage(10.0))
    assert is_before("urgency", far, lost)
    light, heavy = (workflow(weight=4.0), stage()), (workflow(weight=1.0), stage())
    assert is_before("urgency", light, heavy)


def test_only_those_whose_keys_move_with_time_are_ordered_anew() -> None:
    assert {name for name, policy in DISPATCH_POLICIES.items() if policy.changes_with_time} == {
        "hierarchical",
        "urgency",
    }


def test_lru_swap_evicts_the_least_recently_used_and_never_drains() -> None:
    policy = DISPATCH_POLICIES["lru-swap"]
    wanted_but_old = replace(RESIDENT, last_used_s=1.0, waiting=9)
    assert policy.evict(wanted_but_old) < policy.evict(RESIDENT)
    assert not policy.drains


def test_the_others_keep_what_is_waited_for() -> None:
    policy = DISPATCH_POLICIES["edf"]
    assert policy.evict(RESIDENT) < policy.evict(replace(RESIDENT, last_used_s=1.0, waiting=9))


def test_a_stage_goes_where_it_ends_first() -> None:
    slower = replace(SITE, accelerator="gpu-1", finish_s=11.0, kv_share=0.0)
    assert DISPATCH_POLICIES["edf"].place((slower, SITE)) is SITE
