"""The checker of core plans: every rule, broken on purpose, is caught by name, and valid plans pass."""

import copy
import math

import pytest
from tiny_core_instances import busy_document, document_of

from maestro_solver.core_instance.check import Rule, violations

DOCUMENT = document_of(
    {
        "models": [{"name": "big", "weights_gib": 8.0}, {"name": "small", "weights_gib": 2.0}],
        "accelerators": [
            {"name": "a0", "cluster": "c0", "memory_gib": 12.0, "slots": 2, "resident": ["big"]},
            {"name": "a1", "cluster": "c1", "memory_gib": 11.0, "slots": 2, "resident": []},
        ],
        "workflows": [{"name": "w", "deadline_s": 20.0, "weight": 1.0}],
        "stages": [
            {"name": "first", "workflow": "w", "model": "big", "duration_s": 4.0, "kv_gib": 2.0, "predecessors": []},
            {
                "name": "second",
                "workflow": "w",
                "model": "small",
                "duration_s": 3.0,
                "kv_gib": 1.0,
                "predecessors": ["first"],
            },
            {"name": "third", "workflow": "w", "model": "small", "duration_s": 3.0, "kv_gib": 1.0, "predecessors": []},
            {"name": "fourth", "workflow": "w", "model": "small", "duration_s": 3.0, "kv_gib": 1.0, "predecessors": []},
        ],
    }
)
FIRST, SECOND, THIRD, FOURTH = range(4)
BIG, SMALL = range(2)


def _valid():
    """``big`` stays on a0 for the first stage; ``small`` is loaded on a1, two stages run there, then the second."""
    return {
        "assignments": [
            {"stage": "first", "accelerator": "a0", "start_s": 0.0},
            {"stage": "second", "accelerator": "a1", "start_s": 5.0},
            {"stage": "third", "accelerator": "a1", "start_s": 1.0},
            {"stage": "fourth", "accelerator": "a1", "start_s": 1.0},
        ],
        "residency": [
            {"model": "big", "accelerator": "a0", "load_start_s": 0.0, "end_s": 4.0, "initial": True},
            {"model": "small", "accelerator": "a1", "load_start_s": 0.0, "end_s": None, "initial": False},
        ],
    }


def test_a_valid_plan_breaks_no_rule():
    """Tests the plan that all the others here are made from."""
    assert violations(DOCUMENT, _valid()) == []


def _row(**changes):
    return {"model": "small", "accelerator": "a1", "load_start_s": 20.0, "end_s": None, "initial": False} | changes


MUTATIONS = {
    "a stage left out": (Rule.PLACED_ONCE, lambda plan: plan["assignments"].pop()),
    "a stage twice": (Rule.PLACED_ONCE, lambda plan: plan["assignments"].append(plan["assignments"][0])),
    "a start before now": (Rule.NOT_BEFORE_NOW, lambda plan: plan["assignments"][FIRST].update(start_s=-1.0)),
    "a load before now": (Rule.NOT_BEFORE_NOW, lambda plan: plan["residency"][SMALL].update(load_start_s=-1.0)),
    "a start off the grid": (Rule.ON_GRID, lambda plan: plan["assignments"][SECOND].update(start_s=5.5)),
    "before the predecessor ends": (Rule.PRECEDENCE, lambda plan: plan["assignments"][SECOND].update(start_s=3.0)),
    "without the network's delay": (Rule.PRECEDENCE, lambda plan: plan["assignments"][SECOND].update(start_s=4.0)),
    "before the model is ready": (Rule.MODEL_READY, lambda plan: plan["assignments"][THIRD].update(start_s=0.0)),
    "after the model is evicted": (Rule.MODEL_READY, lambda plan: plan["residency"][SMALL].update(end_s=7.0)),
    "where the model never is": (Rule.MODEL_READY, lambda plan: plan["assignments"][FOURTH].update(accelerator="a0")),
    "an initial row left out": (Rule.INITIAL_RESIDENCY, lambda plan: plan["residency"].pop(BIG)),
    "an initial row invented": (Rule.INITIAL_RESIDENCY, lambda plan: plan["residency"][SMALL].update(initial=True)),
    "an initial row that begins later": (
        Rule.INITIAL_RESIDENCY,
        lambda plan: plan["residency"][BIG].update(load_start_s=1.0),
    ),
    "evicted while loading": (
        Rule.RESIDENCY_ENDS_READY,
        lambda plan: plan["residency"].append(_row(model="big", end_s=21.0)),
    ),
    "resident twice at once": (Rule.RESIDENCIES_APART, lambda plan: plan["residency"].append(_row())),
    "two loads at once": (
        Rule.LOADS_APART,
        lambda plan: plan["residency"].append(_row(model="big", load_start_s=0.0)),
    ),
    "more memory than there is": (
        Rule.MEMORY,
        lambda plan: plan["residency"].append(_row(model="big", load_start_s=1.0)),
    ),
    "more stages than slots": (
        Rule.SLOTS,
        lambda plan: [plan["assignments"][i].update(start_s=5.0) for i in (THIRD, FOURTH)],
    ),
    "an unknown stage": (Rule.UNKNOWN_NAME, lambda plan: plan["assignments"][FIRST].update(stage="x")),
    "an unknown accelerator": (Rule.UNKNOWN_NAME, lambda plan: plan["residency"][BIG].update(accelerator="x")),
    "a start that is no number": (Rule.NOT_FINITE, lambda plan: plan["assignments"][FIRST].update(start_s=math.nan)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_rule_broken_on_purpose_is_caught_by_name(name):
    """Tests one mutation of the valid plan; it may break other rules too."""
    rule, mutate = MUTATIONS[name]
    plan = copy.deepcopy(_valid())
    mutate(plan)
    assert rule in {found.rule for found in violations(DOCUMENT, plan)}


def test_every_rule_has_a_mutation():
    """Tests that no rule of the checker goes untested."""
    assert {rule for rule, _ in MUTATIONS.values()} == set(Rule)


def test_weights_that_end_when_others_begin_do_not_add_up():
    """Tests that ends are exclusive: an evicted model's memory is free at that very instant."""
    plan = _valid()
    plan["residency"].append(_row(model="big", accelerator="a0", load_start_s=4.0, end_s=None))
    assert violations(DOCUMENT, plan) == []


def test_an_empty_plan_of_a_busy_instance_names_every_stage():
    """Tests that missing stages are reported one by one."""
    document = busy_document(5, seed=2)
    found = violations(document, {"assignments": [], "residency": []})
    assert sum(entry.rule is Rule.PLACED_ONCE for entry in found) == len(document.stages)
