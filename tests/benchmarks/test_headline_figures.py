"""Tables, pictures and the page of the headline figures, drawn from results that are made up."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from headline_results import cells, result

from benchmarks.headline.__main__ import FIGURES, main
from benchmarks.headline.figures.attainment import ATTAINMENT
from benchmarks.headline.figures.cost import COST
from benchmarks.headline.figures.figure import Table
from benchmarks.headline.figures.measures import reserved_for_a_million, served_tokens
from benchmarks.headline.figures.oracle import ORACLE
from benchmarks.headline.figures.style import INK, set_up
from benchmarks.headline.output.report import write_report
from benchmarks.headline.output.written import origin, read, write
from benchmarks.headline.running.cells import Cells

FIGURE_NAMES = sorted(FIGURES)
WRITTEN = ("attainment", "ablations")


@pytest.fixture(autouse=True)
def style() -> None:
    set_up()


def some_cells(name: str, seeds: int = 3) -> Cells:
    policies = FIGURES[name].policies
    shares = {policy: 0.3 + 0.5 * index / len(policies) for index, policy in enumerate(policies)}
    return cells(shares, loads=("1.0", "high"), seeds=seeds)


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_every_row_has_an_entry_for_every_heading(name: str) -> None:
    for table in FIGURES[name].tables(some_cells(name)):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headings)}


@pytest.mark.parametrize("name", FIGURE_NAMES)
def test_a_grid_under_way_is_drawn_as_far_as_it_is(name: str) -> None:
    found = some_cells(name, seeds=1)
    part = Cells(found.all[: len(found.all) // 2])
    assert FIGURES[name].tables(part)
    assert list(FIGURES[name].pictures(part))


def test_differences_are_taken_seed_by_seed() -> None:
    found = cells({"edf": 0.5, "wspt": 0.6, "planner": 0.8}, loads=("high",))
    goals = ATTAINMENT.tables(found)[-1]
    row = dict(zip(goals.headings, goals.rows[0], strict=True))
    assert row["planner - edf"] == "+30.0 [+30.0, +30.0]"
    assert (row["best baseline"], row["planner - best"]) == ("wspt", "+20.0 [+20.0, +20.0]")


def test_only_seeds_that_both_have_are_compared() -> None:
    found = cells({"edf": 0.5, "planner": 0.8}, loads=("high",))
    del found.all[0].kept[11]
    goals = ATTAINMENT.tables(found)[-1]
    assert goals.rows[0][3] == "+30.0 [+30.0, +30.0]"


def test_the_way_to_the_oracle_is_shared_out() -> None:
    found = cells({"edf": 0.4, "planner": 0.7, "oracle": 0.8}, loads=("high",))
    (row,) = ORACLE.tables(found)[0].rows
    assert row[-2:] == ("planner", "75.0 [75.0, 75.0]")


def test_no_share_is_given_where_there_is_no_way() -> None:
    found = cells({"edf": 0.80, "planner": 0.81, "oracle": 0.82}, loads=("1.0",))
    assert not ORACLE.tables(found)[0].rows
    assert not list(ORACLE.pictures(found))


def test_throughput_is_compared_with_the_most_that_any_policy_has() -> None:
    found = cells({"edf": 0.4, "planner": 0.7}, loads=("high",))
    for kept in found.all[0].kept.values():
        kept.result["throughput_tokens_per_s"] = 4000.0
    assert [row[-1] for row in COST.tables(found)[0].rows] == ["20.0", "0.0"]


def test_memory_counts_for_the_work_that_was_done() -> None:
    much = result(1, 0.5, throughput_tokens_per_s=2500.0)
    assert served_tokens(much) == 2_000_000.0
    assert reserved_for_a_million(much) == 1000.0


def test_a_table_is_markdown() -> None:
    assert Table(("a", "b"), (("1", "2"),)).markdown() == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def write_some(folder: Path) -> None:
    for name, figure in ((name, FIGURES[name]) for name in WRITTEN):
        found = some_cells(name)
        write(
            folder / f"{name}-quick",
            name=name,
            title=figure.title,
            about=figure.about,
            made_by=origin("python -m benchmarks.headline", "quick", "code"),
            pictures=figure.pictures(found),
            tables=figure.tables(found),
            cells=found,
        )


def test_the_page_holds_the_figures_that_are_there_and_needs_nothing_else(tmp_path: Path) -> None:
    write_some(tmp_path)
    page = write_report(tmp_path, "quick").read_text()
    assert all(f'id="{name}"' in page for name in WRITTEN)
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "@import" not in page
    assert not [address for address in re.findall(r"url\(([^)]*)\)", page) if not address.startswith("#")]
    assert INK not in page
    repeated = [name for name, count in Counter(re.findall(r'\bid="([^"]+)"', page)).items() if count > 1]
    assert not repeated


def test_a_figure_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_some(tmp_path)
    found = read(tmp_path / "ablations-quick")
    assert found.tables == tuple(FIGURES["ablations"].tables(some_cells("ablations")))
    assert found.origin.command == "python -m benchmarks.headline"
    assert found.codes == ("code",)


def test_equal_data_give_equal_pictures(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_some(tmp_path / folder)
    first = {path.name: path.read_bytes() for path in (tmp_path / "one").rglob("*.svg")}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "two").rglob("*.svg")}


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attainment", "--out", str(tmp_path), "--workload", "nothing", "--only-known"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
