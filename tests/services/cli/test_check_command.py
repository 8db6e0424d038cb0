"""Claims about `maestro check`: every problem of a file, with its line and its key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_scenario import REPOSITORY
from typer.testing import CliRunner, Result

from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.main import app

LAPTOP = REPOSITORY / "scenarios" / "laptop.yaml"
CHAIN = REPOSITORY / "scenarios" / "workflows" / "chain.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("file", [LAPTOP, CHAIN])
def test_shipped_files_are_valid(file: Path) -> None:
    """Tests that check tells scenarios and workflows apart."""
    result = run("check", file)
    assert result.exit_code == ExitCode.SUCCESS
    assert "a valid" in result.stdout


def test_check_lists_every_problem_with_its_line(tmp_path: Path) -> None:
    """Tests that one run shows all there is to mend."""
    broken = LAPTOP.read_text().replace("version: 1 ", "version: 7 ").replace("horizon: 5 min", "horizon: never")
    (tmp_path / "broken.yaml").write_text(broken)
    result = run("check", tmp_path / "broken.yaml", "--json")
    problems = json.loads(result.stdout)["problems"]
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert len(problems) == 2
    for problem, key in zip(problems, ("version", "horizon"), strict=True):
        line = next(number for number, text in enumerate(broken.splitlines(), 1) if text.strip().startswith(key))
        assert (Path(problem["file"]).name, problem["line"]) == ("broken.yaml", line)
        assert problem["key"].endswith(key)


def test_check_holds_a_workflow_against_a_scenario(tmp_path: Path) -> None:
    """Tests that names a workflow uses are looked up where a scenario is given, and only there."""
    (tmp_path / "flow.yaml").write_text(CHAIN.read_text().replace("smollm2-critic", "no-such-model"))
    assert run("check", tmp_path / "flow.yaml").exit_code == ExitCode.SUCCESS
    result = run("check", tmp_path / "flow.yaml", "--scenario", LAPTOP)
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "no-such-model" in result.stdout


def test_check_prints_the_cycle_of_a_cyclic_workflow(tmp_path: Path) -> None:
    """Tests that graph errors are found before anything is submitted."""
    (tmp_path / "flow.yaml").write_text(
        "app: loop\nstages:\n"
        "  - {id: a, role: r, models: m, prompt: hello, max_tokens: 5, after: b}\n"
        "  - {id: b, role: r, models: m, prompt: hello, max_tokens: 5, after: a}\n"
    )
    result = run("check", tmp_path / "flow.yaml")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "flow.yaml:3: stages[0].after: the workflow has a cycle: a -> b -> a" in result.stdout


def test_check_lists_every_problem_of_a_workflow_with_its_line_and_key(tmp_path: Path) -> None:
    """Tests faults of values and of the graph in one run, named by the keys that stand in the file."""
    (tmp_path / "flow.yaml").write_text(
        "app: faults\n"
        "priority: 500\n"
        "stages:\n"
        "  - {id: a, role: r, models: m, prompt: 'of {{nobody.output}}', max_tokens: 5}\n"
        "  - {id: b, role: r, models: m, system: 'of {{a.output}}', max_tokens: 5, sampling: {temperature: 7}}\n"
        "  - id: c\n"
        "    tool: ' '\n"
    )
    result = run("check", tmp_path / "flow.yaml", "--json")
    assert result.exit_code == ExitCode.INVALID_INPUT
    places = [(problem["line"], problem["key"]) for problem in json.loads(result.stdout)["problems"]]
    assert places == [
        (2, "priority"),
        (4, "stages[0].prompt"),
        (5, "stages[1].sampling.temperature"),
        (5, "stages[1].system"),
        (7, "stages[2].tool"),
    ]


def test_check_lists_every_wrong_edge(tmp_path: Path) -> None:
    """Tests that the second mistake is not hidden by the first, and that a wrong form is told in full too."""
    stage = "  - {id: %s, role: r, models: m, prompt: hello, max_tokens: 5, after: [%s]}\n"
    (tmp_path / "flow.yaml").write_text(
        "app: edges\nstages:\n" + stage % ("a", "x") + stage % ("b", "a, a") + stage % ("b", "y")
    )
    shown = run("check", tmp_path / "flow.yaml").stdout
    for place in ("3: stages[0].after[0]", "4: stages[1].after", "5: stages[2].id", "5: stages[2].after[0]"):
        assert f"flow.yaml:{place}: " in shown
    (tmp_path / "flow.yaml").write_text("app: form\nstages:\n  - {id: a, tool: t, durations: 5 s}\n  - {id: b}\n")
    shown = run("check", tmp_path / "flow.yaml").stdout
    assert "flow.yaml:3: stages[0].durations" in shown
    assert "flow.yaml:4: stages[1].role" in shown


def test_check_warns_of_what_this_machine_lacks_and_only_here_refuses_it(tmp_path: Path) -> None:
    """Tests model folders, interpreter, cores and store, each with its line; the file may be for another machine."""
    (tmp_path / "file").write_text("")
    text = LAPTOP.read_text()
    for old, new in (
        ("../.models/smollm2-135m-instruct", "nowhere"),
        ("../.venv-vllm/bin/python", "no-python"),
        ("cpu_cores: [1] ", "cpu_cores: [4096] "),
        ("../.maestro/laptop.sqlite", "file/store.sqlite"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "mine.yaml").write_text(text)
    warned = run("check", tmp_path / "mine.yaml", "--json")
    report = json.loads(warned.stdout)
    assert warned.exit_code == ExitCode.SUCCESS
    assert report["problems"] == []
    keys = {warning["key"].rpartition(".")[2] for warning in report["warnings"]}
    assert keys == {"path", "python", "cpu_cores", "store"}
    assert all(warning["line"] for warning in report["warnings"])
    refused = run("check", tmp_path / "mine.yaml", "--here", "--json")
    assert refused.exit_code == ExitCode.INVALID_INPUT
    assert json.loads(refused.stdout)["problems"] == report["warnings"]
    assert "warning: " in run("check", tmp_path / "mine.yaml").stdout


def test_check_warns_of_an_output_that_leaves_no_room_for_its_prompt(tmp_path: Path) -> None:
    """Tests max_tokens against the longest context among the stage's models."""
    text = CHAIN.read_text()
    (tmp_path / "flow.yaml").write_text(re.sub(r"max_tokens: \d+", "max_tokens: 2048", text, count=1))
    result = run("check", tmp_path / "flow.yaml", "--scenario", LAPTOP)
    assert result.exit_code == ExitCode.SUCCESS
    assert "max_tokens: leaves no room for a prompt in the context of 2048 tokens (got 2048)" in result.stdout


def test_submit_names_line_and_key_before_anything_is_sent(tmp_path: Path) -> None:
    """Tests that a fault of the graph is told as `check` tells it, with the number of those that follow."""
    stage = "  - {id: %s, role: r, models: m, prompt: hello, max_tokens: 5, after: %s}\n"
    (tmp_path / "flow.yaml").write_text("app: loop\npriority: 500\nstages:\n" + stage % ("a", "b") + stage % ("b", "a"))
    result = run("submit", tmp_path / "flow.yaml", "--server", "127.0.0.1:1")
    assert result.exit_code == ExitCode.INVALID_INPUT
    assert "flow.yaml:2: priority: must be from -100 to 100" in result.stderr
    assert "1 more: maestro check" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app: a\nstages: []\n", "stages: is empty; give at least one"),
        ("app: a\nstages:\n  - {id: x, tool: t, duration: soon}\n", "stages[0].duration"),
    ],
)
def test_problems_are_told_in_words_of_the_file(text: str, said: str, tmp_path: Path) -> None:
    """Tests that no type or pattern of a library is shown."""
    (tmp_path / "flow.yaml").write_text(text)
    shown = run("check", tmp_path / "flow.yaml").stdout
    assert said in shown
    assert not any(word in shown for word in ("Tuple", "pattern", "Value error"))
