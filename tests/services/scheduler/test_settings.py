"""Settings that a scenario describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro.scenario import load
from maestro_services.scheduler.settings import settings_of
from maestro_solver.heuristics.dispatch import URGENCY

SCENARIOS = Path(__file__).parents[3] / "scenarios"


@pytest.mark.parametrize(("scenario", "starts"), [("laptop", None), ("one_node_4x80gb", URGENCY)])
def test_stages_start_by_urgency_where_plans_decide_residency_alone(scenario: str, starts: object) -> None:
    assert settings_of(load(SCENARIOS / f"{scenario}.yaml")).core.starts is starts


def test_a_scenario_chooses_what_forecasts_lengths(tmp_path: Path) -> None:
    shipped = (SCENARIOS / "laptop.yaml").read_text()
    assert not settings_of(load(SCENARIOS / "laptop.yaml")).trained
    assert settings_of(load(SCENARIOS / "one_node_4x80gb.yaml")).trained
    for line, trained, artefact in (
        ("forecasts: trained", True, None),
        ("artefact: our_own", True, tmp_path / "our_own"),
    ):
        changed = tmp_path / "changed.yaml"
        changed.write_text(
            shipped.replace("predictor:", f"predictor:\n  {line}").replace("  forecasts: role_statistics ", "  #")
        )
        settings = settings_of(load(changed))
        assert (settings.trained, settings.artefact) == (trained, artefact)
