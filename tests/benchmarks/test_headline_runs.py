"""Running the headline figures: resumed, bound to the code, and not ended by one failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.headline import grid as grid_module
from benchmarks.headline.grid import ALONE, QUICK, Grid, alone, name_of
from benchmarks.headline.running.cells import Cells, attained
from benchmarks.headline.running.kept import Kept, KeptResults, Run, code_version
from benchmarks.headline.running.runs import run_grid
from maestro.scenario import load

TINY = Grid("tiny", QUICK.scenarios, ("dialogues",), ("1.0",), (11, 12), 60.0)


@pytest.fixture(autouse=True)
def light_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for rates has tests of its own."""
    monkeypatch.setattr(grid_module, "known_rate", lambda *_: 0.1)


class Ran:
    """A run of the tiny grid, and what was told of it."""

    def __init__(self, folder: Path, *policies: str, code: str = "a", **options: object) -> None:
        self.said: list[str] = []
        self.done: list[tuple[int, int]] = []
        kept = KeptResults(folder, code, any_code=bool(options.pop("any_code", False)))
        given = {"jobs": 1, "only_known": False, **options}
        self.cells: Cells = run_grid(
            TINY,
            policies,
            folder,
            kept,
            say=self.said.append,
            advance=lambda *done: self.done.append(done),
            **given,  # type: ignore[arg-type]
        )


def test_every_policy_and_seed_is_run_and_told_of(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "edf", "planner")
    assert [(cell.policy, sorted(cell.kept)) for cell in ran.cells.all] == [("edf", [11, 12]), ("planner", [11, 12])]
    assert ran.done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_what_is_known_is_not_run_again(tmp_path: Path) -> None:
    first, again = Ran(tmp_path, "edf"), Ran(tmp_path, "edf", "fcfs")
    assert len(again.done) == 2
    assert again.cells.all[0].kept == first.cells.all[0].kept


def test_results_of_other_code_are_run_again_unless_they_are_asked_for(tmp_path: Path) -> None:
    Ran(tmp_path, "edf")
    assert not Ran(tmp_path, "edf", code="b", any_code=True).done
    assert len(Ran(tmp_path, "edf", code="b").done) == 2


def test_a_part_of_the_grid_is_drawn_without_running_anything(tmp_path: Path) -> None:
    Ran(tmp_path, "edf")
    part = Ran(tmp_path, "edf", "planner", only_known=True)
    assert (part.cells.policies, part.done) == (["edf"], [])


def test_nothing_is_searched_for_where_nothing_is_to_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_module, "known_rate", lambda *_: None)
    part = Ran(tmp_path, "edf", only_known=True)
    assert not part.cells.all
    assert not part.said


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    one, two = Ran(tmp_path / "one", "edf"), Ran(tmp_path / "two", "edf", jobs=2)
    assert two.cells.all[0].by_seed(attained) == one.cells.all[0].by_seed(attained)


def test_a_run_that_fails_is_told_of_and_left_out(tmp_path: Path) -> None:
    ran = Ran(tmp_path, "no-such-policy", "edf")
    assert ran.cells.policies == ["edf"]
    assert len([said for said in ran.said if "no-such-policy" in said and "failed" in said]) == 2


def test_a_damaged_result_is_run_again(tmp_path: Path) -> None:
    Ran(tmp_path, "edf")
    next(tmp_path.glob("edf-*/11.json")).write_text("{")
    assert len(Ran(tmp_path, "edf").done) == 1


def test_what_is_kept_is_found_by_what_it_is(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path, "a", any_code=False)
    run = Run("x", "edf", 1)
    kept.keep(run, {"seed": 1})
    assert kept.find(run) == Kept({"seed": 1}, "a")
    assert kept.find(Run("y", "edf", 1)) is None
    assert code_version() == code_version()


def test_no_two_models_share_an_accelerator_of_the_fleet_without_co_location(tmp_path: Path) -> None:
    fleet = alone(load(QUICK.scenarios[0])).fleet_spec()
    memory = fleet.clusters[0].nodes[0].accelerators[0].memory_bytes
    taken = sorted(model.fixed_bytes + model.kv_pool_bytes for model in fleet.models.values())
    assert taken[0] + taken[1] > memory
    assert taken[-1] <= memory
    assert Ran(tmp_path, ALONE).cells.all[0].kept


def test_a_trace_is_called_by_its_file(tmp_path: Path) -> None:
    assert name_of("agents") == "agents"
    assert name_of(str(tmp_path / "tau2.jsonl.gz")) == "tau2"
