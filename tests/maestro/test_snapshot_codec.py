"""Snapshots and plans survive JSON; bad input is refused with the field's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from maestro.errors import InvalidInputError
from maestro.plan import Assignment, Deferral, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import Snapshot, StageKey
from maestro.snapshot_codec import plan_from_dict, plan_to_dict, snapshot_from_dict, snapshot_to_dict
from maestro_solver.planner.generate import FAMILIES, generate

PLAN = Plan(
    taken_at_s=5.0,
    horizon_s=60.0,
    assignments=(Assignment(StageKey("w", "a"), "gpu0", "alpha", 0.0, 5.0, 7),),
    residencies=(Residency("gpu0", "alpha", 0.0, 0.0, None, initial=True, kv_pool_bytes=20),),
    deferred=(Deferral(StageKey("w", "b"), Reason.DEFERRED_BEYOND_HORIZON),),
    provenance=Provenance(3, PlanSource.CP_SAT, SolveStatus.OPTIMAL, 1.5, {"late": 1.5}, bound=1.5, gap=0.0),
)


def through_json(values: dict[str, Any]) -> Any:
    return json.loads(json.dumps(values, allow_nan=False))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_snapshot_survives_json(family: str) -> None:
    given = generate(family, stages=20, accelerators=3, seed=1)
    assert snapshot_from_dict(through_json(snapshot_to_dict(given))) == given


def test_groups_survive_json_and_may_be_absent() -> None:
    given = generate("tensor-parallel", stages=3, seed=1)
    assert set(given.groups.values()) >= {("gpu-0", "gpu-2"), ("gpu-1", "gpu-3", "gpu-5", "gpu-7")}
    written = through_json(snapshot_to_dict(given))
    assert snapshot_from_dict(written) == given
    del written["groups"]
    assert snapshot_from_dict(written).groups == {}


def test_an_infinite_deadline_survives_json() -> None:
    given = generate("small", stages=3, accelerators=1, seed=1)
    free = replace(given, workflows=tuple(replace(found, deadline_s=float("inf")) for found in given.workflows))
    assert snapshot_from_dict(through_json(snapshot_to_dict(free))) == free


def test_a_plan_survives_json() -> None:
    assert plan_from_dict(through_json(plan_to_dict(PLAN))) == PLAN


def values() -> dict[str, Any]:
    found: dict[str, Any] = through_json(snapshot_to_dict(generate("contended", stages=6, accelerators=2, seed=1)))
    return found


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda given: given.pop("models"), "snapshot.models"),
        (lambda given: given.pop("load_s"), "snapshot.load_s"),
        (lambda given: given.update(lod_s=[]), "snapshot.lod_s"),
        (lambda given: given.update(load_s={}), "snapshot.load_s"),
        (lambda given: given["load_s"][1].pop("model"), "snapshot.load_s[1]"),
        (lambda given: given["load_s"][1].update(load_s=-1), "snapshot.load_s[1].load_s"),
        (lambda given: given["waiting"][2].update(tail="1"), "snapshot.waiting[2].tail"),
        (lambda given: given["waiting"][0].update(key=["w"]), "snapshot.waiting[0].key[1]"),
        (
            lambda given: given["waiting"][0]["options"][0].update(duration_s="x"),
            "snapshot.waiting[0].options[0].duration_s",
        ),
        (
            lambda given: given["waiting"][0]["options"][0].update(kv_bytes=-1),
            "snapshot.waiting[0].options[0].kv_bytes",
        ),
        (lambda given: given["workflows"][0].update(weight=float("nan")), "snapshot.workflows[0].weight"),
        (lambda given: given["accelerators"][0].update(memory_bytes=1.5), "snapshot.accelerators[0].memory_bytes"),
        (lambda given: given["budget"].update(total=None), "snapshot.budget.total"),
        (lambda given: given.update(groups={}), "snapshot.groups"),
        (lambda given: given.update(groups=[{"model": "m"}]), "snapshot.groups[0]"),
        (lambda given: given.update(groups=[{"model": "m", "accelerators": []}]), "snapshot.groups[0].accelerators"),
        (
            lambda given: given["models"]["model-0"].update(tensor_parallel_size=0),
            "snapshot.models.model-0.tensor_parallel_size",
        ),
    ],
)
def test_bad_input_is_refused_with_the_fields_name(edit: Callable[[dict[str, Any]], object], field: str) -> None:
    given = values()
    edit(given)
    with pytest.raises(InvalidInputError) as caught:
        snapshot_from_dict(given)
    assert caught.value.field == field


@pytest.mark.parametrize("decode", [snapshot_from_dict, plan_from_dict])
@pytest.mark.parametrize("given", [None, [], "text", 3])
def test_what_is_not_an_object_is_refused(decode: Callable[[object], Snapshot | Plan], given: object) -> None:
    with pytest.raises(InvalidInputError, match="must be an object"):
        decode(given)


def test_an_unknown_reason_in_a_plan_is_refused() -> None:
    given = plan_to_dict(PLAN)
    given["deferred"][0]["reason"] = "bad mood"
    with pytest.raises(InvalidInputError) as caught:
        plan_from_dict(given)
    assert caught.value.field == "plan.deferred[0].reason"
