"""Tests what the trained predictor knows, and that it knows it only from what came before a call."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded_calls import QUICK, loop, loops, quickly_trained

from maestro.errors import InvalidInputError
from maestro.trace import Ending, TraceCall
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.call import UpcomingCall, finished, upcoming
from maestro_solver.predictor.evaluation.baselines import median_forecasts
from maestro_solver.predictor.evaluation.replay import ReplayedCall, replayed
from maestro_solver.predictor.forecast import lengths_of
from maestro_solver.predictor.history import WorkflowHistory
from maestro_solver.predictor.network import Network
from maestro_solver.predictor.role_statistics import LengthPredictor
from maestro_solver.predictor.stage_predictor import StagePredictor
from maestro_solver.predictor.training.examples import examples_of, split_by_task
from maestro_solver.predictor.training.module import LengthNetwork


def forecasts(artefact: Artefact, calls: list[TraceCall], *, online: bool = False) -> list[ReplayedCall]:
    return list(replayed(calls, StagePredictor(artefact), online=online))


def error(replayed_calls: list[ReplayedCall]) -> float:
    return float(np.mean([abs(one.p50_tokens - one.call.completion_tokens) for one in replayed_calls]))


def test_it_beats_the_median_of_the_role_on_workflows_it_never_saw(artefact: Artefact) -> None:
    """Tests that it reads the length of the text off the prompt and the calls before."""
    unseen = loops(30, seed=2)
    medians = median_forecasts(unseen, artefact.medians)["(app, role, phase) median"]
    lengths = np.array([call.completion_tokens for call in unseen])
    assert error(forecasts(artefact, unseen)) < 0.5 * float(np.abs(medians - lengths).mean())


def test_its_quantiles_cover_what_they_say_on_workflows_it_never_saw(artefact: Artefact) -> None:
    """Tests calibration on held-out tasks."""
    scored = forecasts(artefact, loops(100, seed=3))
    covered = np.mean([one.call.completion_tokens <= one.at(0.9) for one in scored])
    assert 0.84 < covered < 0.96


def test_quantiles_rise(artefact: Artefact) -> None:
    """Tests that p10 to p99 are in order for every call."""
    assert all((np.diff(one.quantiles) >= 0).all() for one in forecasts(artefact, loops(5, seed=4)))


@pytest.mark.parametrize("online", [False, True])
def test_nothing_is_known_of_a_call_before_it_ends(artefact: Artefact, online: bool) -> None:
    """Tests that what comes of a call and of later ones changes no forecast made before."""
    calls = loops(4, seed=5)
    at = len(calls) // 2
    changed = [
        replace(call, completion_tokens=7, response_chars=1, latency_s=99.0, ending=Ending.CUT) if i >= at else call
        for i, call in enumerate(calls)
    ]
    before, after = forecasts(artefact, calls, online=online), forecasts(artefact, changed, online=online)
    assert all((a.quantiles == b.quantiles).all() for a, b in zip(before[: at + 1], after[: at + 1], strict=True))
    assert any((a.quantiles != b.quantiles).any() for a, b in zip(before, after, strict=True))


def test_without_online_workflows_know_nothing_of_each_other(artefact: Artefact) -> None:
    """Tests that a workflow alone is forecast as it is after others."""
    calls = loops(3, seed=6)
    last = [call for call in calls if call.workflow_id == calls[-1].workflow_id]
    together = forecasts(artefact, calls)[-len(last) :]
    assert all((a.quantiles == b.quantiles).all() for a, b in zip(together, forecasts(artefact, last), strict=True))


def test_many_calls_are_forecast_as_each_alone(artefact: Artefact) -> None:
    """Tests that a batch changes nothing but the time it takes."""
    predictor, history = StagePredictor(artefact), WorkflowHistory()
    for call in loop(0, seed=7)[:3]:
        history.add(finished(call))
    calls = [(upcoming(call), history) for call in loop(0, seed=7)[3:]]
    together = predictor.forecast_many(calls)
    for lengths, forecast, (call, known) in zip(lengths_of(together), together, calls, strict=True):
        alone = predictor.forecast(call, known)
        assert forecast.lengths() == lengths
        assert lengths.p90_tokens == pytest.approx(alone.lengths().p90_tokens, rel=1e-4)
    assert predictor.forecast_many([]) == lengths_of([]) == ()


def test_numpy_predicts_what_torch_trained(artefact: Artefact) -> None:
    """Tests the two forms of the network against each other."""
    examples = examples_of(loops(2, seed=8), artefact.vocabulary, LengthPredictor(), learn=True)
    torch.manual_seed(0)
    encoding = artefact.network.encoding
    module = LengthNetwork(encoding.size, len(artefact.vocabulary), QUICK).eval()
    torch.nn.init.normal_(module.w3, 0.0, 0.5)
    found = Network(encoding, module.exported()).predict(examples.inputs)
    with torch.no_grad():
        log_probability, slope = module(
            torch.from_numpy(encoding.encode(examples.inputs.features)),
            torch.from_numpy(examples.inputs.names),
            torch.from_numpy(examples.inputs.ngrams),
        )
    probability = log_probability.exp()
    np.testing.assert_allclose(found.probability, probability.mean(0).numpy(), atol=1e-5)
    np.testing.assert_allclose(found.slope, ((probability * slope).mean(0) / probability.mean(0)).numpy(), atol=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        UpcomingCall("never seen", "nobody", "", "?", 100),
        UpcomingCall("writers", "never seen", "loop", "m", 100),
        UpcomingCall("writers", "reviewer", "loop", "never seen", 0),
        UpcomingCall("", "", "", "", 10_000_000, prompt_head="\udcff\x00" * 5000, prompt_chars=0, idle_s=1e9),
    ],
)
def test_names_never_seen_and_odd_calls_still_get_a_forecast(artefact: Artefact, call: UpcomingCall) -> None:
    """Tests the fall-back on coarser names, and calls without history or text."""
    lengths = StagePredictor(artefact).forecast(call, WorkflowHistory()).lengths()
    assert 0 <= lengths.p50_tokens <= lengths.p90_tokens <= lengths.p95_tokens < 1 << 17


def test_a_forecast_keeps_within_max_tokens(artefact: Artefact) -> None:
    """Tests the cap, and that a limit no output can keep is refused."""
    call = replace(upcoming(loop(0, seed=9)[1]), max_tokens=40)
    assert StagePredictor(artefact).forecast(call, WorkflowHistory()).lengths().p95_tokens == 40
    for wrong in (replace(call, max_tokens=0), replace(call, prompt_tokens=-1)):
        with pytest.raises(InvalidInputError):
            StagePredictor(artefact).forecast(wrong, WorkflowHistory())


def test_training_again_gives_the_same_forecasts() -> None:
    """Tests that a seed decides everything."""
    calls, unseen = loops(12, seed=10), loops(2, seed=11)
    first, second = (forecasts(quickly_trained(calls, replace(QUICK, epochs=1)), unseen) for _ in range(2))
    assert all((a.quantiles == b.quantiles).all() for a, b in zip(first, second, strict=True))


def test_too_little_to_train_on_is_refused() -> None:
    """Tests a trace of one workflow, which leaves nothing to calibrate with."""
    with pytest.raises(InvalidInputError, match="to train on"):
        quickly_trained(loop(0, seed=12, rounds=40))


def test_one_role_without_text_can_be_trained_on() -> None:
    """Tests a trace that says next to nothing."""
    calls = [replace(call, role="r", phase="", prompt_head="", prompt_chars=None) for call in loops(15, seed=13)]
    assert len(forecasts(quickly_trained(calls, replace(QUICK, epochs=1)), calls[:8])) == 8


def test_no_task_is_in_both_parts_of_a_split() -> None:
    """Tests that workflows on one task stay together."""
    calls = [replace(call, task=f"task {index // 16}") for index, call in enumerate(loops(40, seed=14))]
    learning, held_out = split_by_task(calls, 0.25, seed=0)
    assert held_out
    assert not {call.task for call in learning} & {call.task for call in held_out}
    assert len(learning) + len(held_out) == len(calls)


def test_outputs_that_were_cut_teach_that_they_would_have_been_longer() -> None:
    """Tests censoring in training: with every revision cut at 100 tokens, forecasts do not end there."""
    cut = [
        replace(call, completion_tokens=100, ending=Ending.CUT) if call.completion_tokens > 100 else call
        for call in loops(60, seed=15)
    ]
    taken_whole = [replace(call, ending=Ending.STOP) for call in cut]
    revision = [one for one in loops(4, seed=16) if one.role == "reviser"]
    as_cut = forecasts(quickly_trained(cut), revision)
    as_whole = forecasts(quickly_trained(taken_whole), revision)
    assert np.mean([one.at(0.9) for one in as_cut]) > 1.5 * np.mean([one.at(0.9) for one in as_whole])


def test_forecasting_imports_no_torch() -> None:
    """Tests that a process that predicts stays lean, and one that only keeps role statistics leaner."""
    code = (
        "import sys; import maestro_solver.predictor as p\n"
        "assert 'safetensors' not in sys.modules\n"
        "from maestro_solver.predictor.stage_predictor import StagePredictor\n"
        "StagePredictor.load()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
