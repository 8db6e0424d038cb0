"""Tests that an artefact is loaded safely, and that role statistics take over where it cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_calls import loops

from maestro.errors import InvalidInputError
from maestro_solver.predictor.artefact import (
    CARD_FILE,
    DEFAULT_FOLDER,
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    Artefact,
    load,
    save,
)
from maestro_solver.predictor.evaluation.replay import replayed
from maestro_solver.predictor.stage_predictor import StagePredictor


@pytest.fixture
def folder(artefact: Artefact, tmp_path: Path) -> Path:
    save(artefact, tmp_path / "artefact")
    return tmp_path / "artefact"


def redescribed(folder: Path, **changes: Any) -> None:
    path = folder / DESCRIPTION_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_loaded_artefact_forecasts_as_the_saved_one(artefact: Artefact, folder: Path) -> None:
    """Tests the round trip."""
    calls = loops(2, seed=41)
    one, other = (list(replayed(calls, StagePredictor(it), online=False)) for it in (artefact, load(folder)))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.quantiles, b.quantiles)


@pytest.mark.parametrize("file", [WEIGHTS_FILE, DESCRIPTION_FILE])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(folder: Path, file: str, keep: float) -> None:
    """Tests files that were cut, and that the error says which."""
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InvalidInputError, match=file):
        load(folder)


def test_altered_weights_are_noticed(folder: Path) -> None:
    """Tests one bit."""
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(InvalidInputError, match="truncated or altered"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"features": ["prompt"]},
        {"class_edges_tokens": [0, 1]},
        {"vocabulary": []},
        {"statistics": {}},
        {"scores": None},
        {"medians": [[1]]},
        {"vocabulary": None},
        {"training": ...},
    ],
)
def test_an_artefact_of_another_version_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    """Tests what no longer fits the code."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text()) | changes
    description = {name: value for name, value in description.items() if value is not ...}
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description))
    with pytest.raises(InvalidInputError) as caught:
        load(folder)
    assert "maestro predictor train" in caught.value.remedy


def test_without_a_usable_artefact_role_statistics_take_over_and_learn(folder: Path) -> None:
    """Tests that forecasts go on, that the reason is told, and that the state is restored beside none as well."""
    redescribed(folder, version=99)
    predictor = StagePredictor.load(folder)
    assert "version" in predictor.fallback_reason
    scored = list(replayed(loops(60, seed=42), predictor, online=True))
    reviews = [one for one in scored[200:] if one.call.role == "reviewer"]
    assert np.mean([abs(one.p50_tokens - 50) for one in reviews]) < 10
    again = StagePredictor(None)
    again.restore(json.loads(json.dumps(predictor.state())))
    assert again.state() == predictor.state()


def test_the_shipped_artefact_is_small_and_names_its_sources() -> None:
    """Tests that it loads, holds nothing that could run code, and says from what it was made."""
    assert load().training["sources"]
    assert {path.name for path in DEFAULT_FOLDER.iterdir()} == {WEIGHTS_FILE, DESCRIPTION_FILE, CARD_FILE}
    assert sum(path.stat().st_size for path in DEFAULT_FOLDER.iterdir()) < 3_000_000
    card = (DEFAULT_FOLDER / CARD_FILE).read_text()
    for needed in ("Apache-2.0", "MIT", "OTOYO1020/ChatDev_Intermediate", "sierra-research/tau2-bench", "Figures"):
        assert needed in card
    assert StagePredictor.load().fallback_reason == ""
