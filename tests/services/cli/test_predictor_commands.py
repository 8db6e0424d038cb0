"""Tests `maestro predictor`: from a trace to an artefact, its figures and its forecasts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from maestro_services.cli.main import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def call(workflow: int, step: int) -> dict[str, Any]:
    return {
        "source": "made",
        "workflow_id": f"w{workflow}",
        "app": "writers",
        "step": step,
        "parents": [step - 1] if step else [],
        "role": "reviser" if step % 2 else "reviewer",
        "phase": "loop",
        "model": "m",
        "prompt_tokens": 300 + 10 * step,
        "completion_tokens": random.Random(f"{workflow}-{step}").randint(40, 60) * (8 if step % 2 else 1),
        "finish": "stop",
    }


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "made.jsonl"
    path.write_text("".join(json.dumps(call(workflow, step)) + "\n" for workflow in range(20) for step in range(6)))
    return path


@pytest.fixture(scope="module")
def artefact(trace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    result = run("predictor", "train", "--trace", trace, "--validation", trace, "--out", folder, "--epochs", 1)
    assert result.exit_code == 0, result.output
    return folder


def test_training_writes_an_artefact_with_its_card(artefact: Path) -> None:
    """Tests that the card names data, command and figures."""
    card = (artefact / "MODEL_CARD.md").read_text()
    assert "| made | not stated | 120 |" in card
    assert "## Figures" in card
    assert {path.name for path in artefact.iterdir()} == {"MODEL_CARD.md", "predictor.json", "weights.safetensors"}


def test_evaluation_gives_every_figure_as_json(trace: Path, artefact: Path) -> None:
    """Tests errors, coverage, order and reservations, overall and by app and role, with baselines."""
    result = run("predictor", "evaluate", "--trace", trace, "--artefact", artefact, "--json")
    report = json.loads(result.stdout)
    assert report["overall"]["scores"]["calls"] == 120
    assert set(report["overall"]["scores"]["baseline_errors"]) == {"global median", "(app, role, phase) median"}
    assert set(report["overall"]["scores"]["covered"]) == {"p50", "p90", "p95"}
    assert [one["group"] for one in report["by_app"]] == [["writers"]]
    assert {tuple(one["group"]) for one in report["by_role"]} == {("writers", "reviewer"), ("writers", "reviser")}
    assert {one["quantile"] for one in report["overall"]["reservations"]} == {"p90", "p95", "p98", "p99", "cheapest"}


def test_evaluation_shows_tables_to_people(trace: Path, artefact: Path) -> None:
    """Tests the same without --json, learning on."""
    result = run("predictor", "evaluate", "--trace", trace, "--artefact", artefact, "--online")
    assert "writers, reviser" in result.stdout
    assert "KV reservation" in result.stdout


@pytest.mark.parametrize("online", [(), ("--online",)])
def test_prediction_prints_a_line_per_call_in_file_order(trace: Path, artefact: Path, online: tuple[str, ...]) -> None:
    """Tests the documented fields, and that quantiles rise."""
    result = run("predictor", "predict", "--trace", trace, "--artefact", artefact, *online)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["workflow_id"], one["step"]) for one in lines] == [(f"w{w}", s) for w in range(20) for s in range(6)]
    assert list(lines[0]) == ["workflow_id", "step", "p10", "p50", "p90", "p95"]
    assert all(one["p10"] <= one["p50"] <= one["p90"] <= one["p95"] for one in lines)


def test_an_artefact_that_cannot_be_used_is_told_and_role_statistics_take_over(trace: Path, tmp_path: Path) -> None:
    """Tests a folder without files: a notice on standard error, and a forecast for every call all the same."""
    result = run("predictor", "predict", "--trace", trace, "--artefact", tmp_path)
    assert result.exit_code == 0
    assert "role statistics forecast alone" in result.stderr
    assert len(result.stdout.splitlines()) == 120


def test_an_empty_or_broken_trace_is_invalid_input(tmp_path: Path) -> None:
    """Tests exit code 2 with the place of the fault."""
    empty, broken = tmp_path / "empty.jsonl", tmp_path / "broken.jsonl"
    empty.write_text("")
    broken.write_text('{"workflow_id": "w"}\n')
    result = run("predictor", "train", "--trace", empty, "--out", tmp_path / "out")
    assert (result.exit_code, "holds no call" in result.stderr) == (2, True)
    result = run("predictor", "predict", "--trace", broken)
    assert (result.exit_code, "broken.jsonl:1.app" in result.stderr) == (2, True)
    assert run("predictor", "evaluate", "--trace", tmp_path / "none").exit_code == 2


def test_what_is_still_to_come_is_foretold_from_the_workflows_before(trace: Path) -> None:
    """Tests that the first workflow of an app has no lines, and that later ones count down to their last call."""
    lines = [json.loads(line) for line in run("predictor", "remaining", "--trace", trace).output.splitlines()]
    assert {line["workflow_id"] for line in lines} == {f"w{workflow}" for workflow in range(1, 20)}
    assert [line["calls"]["p50"] for line in lines if line["workflow_id"] == "w19"] == [6, 5, 4, 3, 2, 1]
    assert lines[0]["expected"][0] == {"role": "reviewer", "phase": "loop", "calls": 3.0}
    assert lines[0]["output_tokens"]["p10"] > 0
    taught = run("predictor", "remaining", "--trace", trace, "--learnt-from", trace).output.splitlines()
    assert json.loads(taught[0])["workflow_id"] == "w0"
