"""Fits the performance model's coefficients to recorded calls.

The coefficients are those with which simulated engines, given each call when it was really sent, come closest to the
first and last tokens of the real ones. What a run does not show, such as two models at work on one accelerator, keeps
its value from the scenario. An engine's start is what its load took beyond the links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from benchmarks.simulator.engine_replay import EngineCall, engine_calls, simulated, with_speeds
from benchmarks.simulator.run_folder import Load, RunFolder
from benchmarks.simulator.workload import WARM_UP_APP
from maestro.fleet import ModelSpec, NodeSpec, SpeedCoefficients, WeightTier
from maestro.performance import load_s
from maestro.scenario import Scenario

FITTED = {
    "prefill_tokens_per_s": (1.0, 1e6),
    "prefill_overhead_s": (0.0, 5.0),
    "prefill_stall": (0.0, 1.0),
    "decode_tokens_per_s": (0.1, 1e5),
    "batch_slope": (0.0, 5.0),
    "colocation_slope": (0.0, 10.0),
}
"""The coefficients, with the bounds they are looked for in."""

RATES = frozenset({"prefill_tokens_per_s", "decode_tokens_per_s"})
"""Those that are looked for by their logarithms."""

LEAST_S = 0.02
"""Added to both sides of a ratio of times: below it, clocks and steps tell more than the model."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted: speeds by model on one kind of accelerator, and noise as ``EngineModel`` takes it.

    ``not_observed`` names coefficients that the run says nothing about. ``calls`` is how many it was fitted to,
    and ``share`` that of the workflows they are of.
    """

    kind: str
    speeds: dict[str, dict[str, float]]
    noise: dict[str, float]
    not_observed: tuple[str, ...]
    calls: int
    share: float = 0.0


def calibrate(run: RunFolder, share: float) -> Calibration:
    """Fit to the workflows that arrived first, ``share`` of all, and write the calibrated scenario.

    Calls that were under way when the first of the others arrived count as company of those that had ended by then.
    """
    scenario, calls, validated = run.scenario(), run.calls(), run.validated(share)
    until_s = min(call.arrival_s or 0.0 for call in calls if call.workflow_id in validated)
    earlier = (call for call in calls if call.app != WARM_UP_APP and call.workflow_id not in validated)
    sent = [call for call in engine_calls(earlier) if call.sent_s < until_s]
    found = _fit(scenario, sent, until_s)
    starts = _starts(scenario, run.observation().loads)
    speeds = {model: {**values, **starts.get(model, {})} for model, values in found.speeds.items()}
    calibration = replace(found, speeds=speeds, share=share)
    run.write_calibrated({(model, found.kind): values for model, values in speeds.items()})
    run.write_json("calibration.json", asdict(calibration))
    return calibration


def _fit(scenario: Scenario, calls: Sequence[EngineCall], until_s: float) -> Calibration:
    """Coefficients under which simulated engines come closest to the calls that ended before ``until_s``."""
    accelerators = {spec.name: spec for node in _nodes(scenario) for spec in node.accelerators}
    models, kind = scenario.model_specs, scenario.reference_kind
    ended = [index for index, call in enumerate(calls) if call.end_s <= until_s]
    unknown = _unknowns(models, kind, calls)

    def ratios_at(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made = simulated(calls, accelerators, with_speeds(models, kind, _speeds(models, kind, unknown, point)))
        pairs = [(made[index], calls[index]) for index in ended]
        prefill = np.array([_ratio(ours.prefill_s, real.prefill_s) for ours, real in pairs])
        return prefill, np.array([_ratio(ours.decode_s, real.decode_s) for ours, real in pairs])

    best = least_squares(
        lambda point: np.concatenate(ratios_at(point)),
        [_inside(one.coefficient, getattr(models[one.models[0]].speeds[kind], one.coefficient)) for one in unknown],
        bounds=tuple(zip(*(_bounds(one.coefficient) for one in unknown), strict=True)),
        loss="soft_l1",  # a call that something else held up counts for less
        f_scale=0.2,
        diff_step=0.05,  # the simulated times jump by a step here and there
        x_scale="jac",
    )
    prefill, decode = ratios_at(best.x)
    speeds = {model: _values(found) for model, found in _speeds(models, kind, unknown, best.x).items()}
    noise = {"prefill_noise": _spread(prefill), "decode_noise": _spread(decode), "load_noise": 0.0}
    return Calibration(kind, speeds, noise, tuple(sorted(_not_observed(calls, calls))), len(ended))


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A coefficient to be found. Models whose speeds are equal in the scenario are taken to be equally fast."""

    models: tuple[str, ...]
    coefficient: str


def _unknowns(models: Mapping[str, ModelSpec], kind: str, calls: Sequence[EngineCall]) -> list[_Unknown]:
    alike: dict[SpeedCoefficients, list[str]] = {}
    for name, model in models.items():
        alike.setdefault(model.speeds[kind], []).append(name)
    return [
        _Unknown(tuple(names), coefficient)
        for names in alike.values()
        for coefficient in FITTED
        if coefficient not in _not_observed([call for call in calls if call.model in names], calls)
    ]


def _speeds(
    models: Mapping[str, ModelSpec], kind: str, unknown: Sequence[_Unknown], point: np.ndarray
) -> dict[str, SpeedCoefficients]:
    found = {name: model.speeds[kind] for name, model in models.items()}
    for one, value in zip(unknown, point, strict=True):
        fitted = float(np.exp(value)) if one.coefficient in RATES else float(value)
        for name in one.models:
            found[name] = replace(found[name], **{one.coefficient: fitted})
    return found


def _not_observed(calls: Sequence[EngineCall], company: Sequence[EngineCall]) -> set[str]:
    """The coefficients that calls, each beside ``company``, say nothing about."""
    missing = set()
    if not _any_overlap(calls, company, same_model=True):
        missing |= {"batch_slope", "prefill_stall"}
    if not _any_overlap(calls, company, same_model=False):
        missing.add("colocation_slope")
    return missing


def _any_overlap(calls: Sequence[EngineCall], company: Sequence[EngineCall], *, same_model: bool) -> bool:
    return any(
        one is not other
        and one.accelerator == other.accelerator
        and (one.model == other.model) is same_model
        and one.sent_s < other.end_s
        and other.sent_s < one.end_s
        for one in calls
        for other in company
    )


def _starts(scenario: Scenario, loads: Sequence[Load]) -> dict[str, dict[str, float]]:
    """By model the engine's start: what a load took beyond reading and copying the weights."""
    found: dict[str, dict[str, float]] = {}
    for load in loads:
        node = next(node for node in _nodes(scenario) if load.accelerator in {spec.name for spec in node.accelerators})
        model, kind = scenario.model_specs[load.model], scenario.reference_kind
        links_s = load_s(model, node, kind, WeightTier.DISK) - model.speeds[kind].start_s
        found[load.model] = {"start": max(0.0, load.load_s - links_s)}
    return found


def _nodes(scenario: Scenario) -> tuple[NodeSpec, ...]:
    return tuple(node for cluster in scenario.fleet_spec().clusters for node in cluster.nodes)


def _values(speed: SpeedCoefficients) -> dict[str, float]:
    """The coefficients by their keys in a scenario."""
    found = {name: round(float(getattr(speed, name)), 6) for name in FITTED}
    return {name.removesuffix("_s") if name == "prefill_overhead_s" else name: value for name, value in found.items()}


def _ratio(ours_s: float, real_s: float) -> float:
    return float(np.log((ours_s + LEAST_S) / (real_s + LEAST_S)))


def _spread(ratios: np.ndarray) -> float:
    """The standard deviation of the bulk, which a few calls that were held up do not widen."""
    return float(1.4826 * np.median(np.abs(ratios - np.median(ratios))))


def _bounds(name: str) -> tuple[float, float]:
    low, high = FITTED[name]
    return (float(np.log(low)), float(np.log(high))) if name in RATES else (low, high)


def _inside(name: str, value: float) -> float:
    """A first guess, off the bounds."""
    low, high = _bounds(name)
    guess = float(np.log(value)) if name in RATES else value
    return min(max(guess, low + 0.02), high - 0.02)
