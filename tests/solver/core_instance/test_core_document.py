"""Reading core instances and putting them on the grid."""

import copy
import json

import pytest
from tiny_core_instances import busy_document

from maestro.errors import InvalidInputError
from maestro_solver.core_instance.document import FORMAT, plan_document, read_instance
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.portfolio import run_rule
from maestro_solver.core_instance.problem import MEMORY_UNIT_GIB


def _values():
    """A valid instance, as JSON would give it: two stages in a chain on one of two accelerators."""
    return {
        "format": FORMAT,
        "tick_s": 0.1,
        "network_delay_s": 0.4,
        "load_gib_per_s": 10.0,
        "weights": {"late": 100, "tardy": 1, "tardy_cap_s": 60, "latency": 0.2, "swap": 1},
        "models": [{"name": "m", "weights_gib": 16}],
        "accelerators": [
            {"name": "a0", "cluster": "c0", "memory_gib": 24, "slots": 8, "resident": []},
            {"name": "a1", "cluster": "c1", "memory_gib": 18, "slots": 8, "resident": ["m"]},
        ],
        "workflows": [{"name": "w", "deadline_s": 12.3, "weight": 4}],
        "stages": [
            {"name": "s0", "workflow": "w", "model": "m", "duration_s": 0.3, "kv_gib": 0.125, "predecessors": []},
            {"name": "s1", "workflow": "w", "model": "m", "duration_s": 1.7, "kv_gib": 8, "predecessors": ["s0"]},
        ],
    }


def test_seconds_and_gib_become_whole_ticks_and_units():
    """Tests that 0.3 s is 3 ticks of 0.1 s, whatever binary fractions say, and that a deadline is rounded down."""
    problem = problem_from_document(read_instance(_values()))
    assert problem.stage_duration.tolist() == [3, 17]
    assert problem.stage_tail.tolist() == [20, 17]
    assert problem.workflow_deadline.tolist() == [123]
    assert problem.network_delay == 4
    assert problem.model_load.tolist() == [16]
    assert problem.stage_kv[0] * MEMORY_UNIT_GIB == 0.125
    assert problem.initially_resident.tolist() == [[False], [True]]


def test_what_is_off_the_grid_is_rounded_to_the_safe_side():
    """Tests that demands go up and deadlines down."""
    values = _values()
    values["stages"][0]["duration_s"] = 0.31
    values["workflows"][0]["deadline_s"] = 12.39
    problem = problem_from_document(read_instance(values))
    assert problem.stage_duration[0] == 4
    assert problem.workflow_deadline[0] == 123


def test_a_plan_is_written_in_seconds_without_noise():
    """Tests that the plan document is JSON with every stage once, and times like 12.3."""
    problem = problem_from_document(busy_document(4, seed=1))
    document = json.loads(json.dumps(plan_document(problem, run_rule(problem, "edf").best.plan)))
    assert {row["stage"] for row in document["assignments"]} == set(problem.stage_names)
    assert all(row["start_s"] == round(row["start_s"], 6) for row in document["assignments"])


WRONG = {
    "an unknown version": (("format",), "maestro-core-instance/9", "format"),
    "a missing key": (("tick_s",), None, "tick_s"),
    "a number that is not finite": (("stages", 0, "duration_s"), float("nan"), "stages[0].duration_s"),
    "an infinite deadline": (("workflows", 0, "deadline_s"), float("inf"), "workflows[0].deadline_s"),
    "a duration of nothing": (("stages", 0, "duration_s"), 0, "stages[0].duration_s"),
    "a text for a number": (("stages", 0, "kv_gib"), "8", "stages[0].kv_gib"),
    "a negative weight": (("workflows", 0, "weight"), -1, "workflows[0].weight"),
    "an accelerator without slots": (("accelerators", 0, "slots"), 0, "accelerators[0].slots"),
    "no accelerator at all": (("accelerators",), [], "accelerators"),
    "an unknown model": (("stages", 1, "model"), "x", "stages[1].model"),
    "an unknown workflow": (("stages", 1, "workflow"), "x", "stages[1].workflow"),
    "an unknown predecessor": (("stages", 1, "predecessors"), ["x"], "stages[1].predecessors"),
    "an unknown resident model": (("accelerators", 0, "resident"), ["x"], "accelerators[0].resident"),
    "a model resident twice": (("accelerators", 1, "resident"), ["m", "m"], "accelerators[1].resident"),
    "a name taken twice": (("accelerators", 1, "name"), "a0", "accelerators[1].name"),
    "residents that do not fit": (("accelerators", 1, "memory_gib"), 15, "accelerators[1].resident"),
    "a stage that fits nowhere": (("stages", 1, "kv_gib"), 8.1, "stages[1].kv_gib"),
    "a stage that waits for itself": (("stages", 0, "predecessors"), ["s0"], "stages"),
    "a cycle": (("stages", 0, "predecessors"), ["s1"], "stages"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_instance_is_refused_by_field(name):
    """Tests that the error names the path to what is wrong."""
    path, value, field = WRONG[name]
    values = _values()
    place = values
    for part in path[:-1]:
        place = place[part]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(InvalidInputError) as caught:
        read_instance(values)
    assert caught.value.field == field


def test_a_stage_listed_before_its_predecessor_is_refused_with_the_remedy():
    """Tests that a wrong order is told apart from a cycle."""
    values = _values()
    values["stages"].reverse()
    with pytest.raises(InvalidInputError, match="list a stage after its predecessors"):
        read_instance(values)


def test_a_predecessor_in_another_workflow_is_refused():
    """Tests that workflows are independent of each other."""
    values = copy.deepcopy(_values())
    values["workflows"].append({"name": "other", "deadline_s": 1.0, "weight": 1})
    values["stages"][1]["workflow"] = "other"
    with pytest.raises(InvalidInputError, match="another workflow"):
        read_instance(values)


@pytest.mark.parametrize("values", [None, [], "x", 3])
def test_what_is_no_object_is_refused(values):
    """Tests that a list, a text or nothing is not taken for an instance."""
    with pytest.raises(InvalidInputError, match="must be an object"):
        read_instance(values)
