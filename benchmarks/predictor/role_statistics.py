"""How well role statistics predict output lengths on recorded traces, and what KV memory that saves.

Trains on ``--trace`` files in file order, then scores ``--validation`` files, once with what training taught and
once learning on from every scored output (forecast first, then observe), as the scheduler does.

    python benchmarks/predictor/role_statistics.py --trace train/*.jsonl.gz --validation validation/*.jsonl.gz
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from maestro.costs import LengthFeatures, LengthForecast, LengthObservation, LengthOutcome
from maestro.trace import read_trace
from maestro_solver.predictor import LengthPredictor, PredictorConfig

MAX_TOKENS = 1 << 20
"""No cap: the traces' own limits are not recorded."""

FIXED_RESERVATION_TOKENS = 8192
GENEROUS_OUTPUT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Score:
    """What one validation file says; savings and overflows are shares (0 to 1), of the p95 reservation."""

    trace: str
    online: bool
    calls: int
    mean_absolute_error_p50_tokens: float
    covered_by_p90: float
    covered_by_p95: float
    saving_against_8192: float
    saving_against_prompt_plus_4096: float
    overflow_of_p95: float
    overflow_of_8192: float
    overflow_of_prompt_plus_4096: float
    forecast_ms: float


def observations(path: Path) -> Iterator[LengthObservation]:
    """Yield the calls of a trace in file order."""
    for call in read_trace(path):
        features = LengthFeatures(call.app, call.role, call.phase, call.model, call.prompt_tokens, MAX_TOKENS)
        yield LengthObservation(features, call.completion_tokens, call.outcome)


def score(path: Path, predictor: LengthPredictor, *, online: bool) -> Score:
    """Score ``predictor`` on the complete outputs of a trace; ``online`` lets it learn from each after its forecast."""
    scored: list[tuple[LengthObservation, LengthForecast]] = []
    forecast_s = 0.0
    for observation in observations(path):
        started = time.perf_counter()
        forecast = predictor.forecast(observation.features)
        forecast_s += time.perf_counter() - started
        if observation.outcome is LengthOutcome.COMPLETE:
            scored.append((observation, forecast))
        if online:
            predictor.observe(observation)
    return summarise(path.name.split(".")[0], scored, online=online, forecast_s=forecast_s)


def summarise(
    trace: str, scored: Sequence[tuple[LengthObservation, LengthForecast]], *, online: bool, forecast_s: float
) -> Score:
    """Turn forecasts and what came of them into a score."""
    count = len(scored)
    prompts = [seen.features.prompt_tokens for seen, _ in scored]
    lengths = [seen.output_tokens for seen, _ in scored]
    forecasts = [forecast for _, forecast in scored]
    reserved = sum(prompt + f.p95_tokens for prompt, f in zip(prompts, forecasts, strict=True))
    generous = sum(prompts) + count * GENEROUS_OUTPUT_TOKENS
    pairs = list(zip(lengths, forecasts, strict=True))
    covered_by_p95 = sum(length <= f.p95_tokens for length, f in pairs) / count
    needs = [prompt + length for prompt, length in zip(prompts, lengths, strict=True)]
    return Score(
        trace=trace,
        online=online,
        calls=count,
        mean_absolute_error_p50_tokens=sum(abs(length - f.p50_tokens) for length, f in pairs) / count,
        covered_by_p90=sum(length <= f.p90_tokens for length, f in pairs) / count,
        covered_by_p95=covered_by_p95,
        saving_against_8192=1 - reserved / (count * FIXED_RESERVATION_TOKENS),
        saving_against_prompt_plus_4096=1 - reserved / generous,
        overflow_of_p95=1 - covered_by_p95,
        overflow_of_8192=sum(need > FIXED_RESERVATION_TOKENS for need in needs) / count,
        overflow_of_prompt_plus_4096=sum(length > GENEROUS_OUTPUT_TOKENS for length in lengths) / count,
        forecast_ms=1000 * forecast_s / count,
    )


def trained(paths: Sequence[Path], config: PredictorConfig) -> LengthPredictor:
    """Return a predictor that has observed every call of ``paths``, in order."""
    predictor = LengthPredictor(config)
    for path in paths:
        for observation in observations(path):
            predictor.observe(observation)
    return predictor


def print_table(scores: Sequence[Score]) -> None:
    """Print one line a score, lengths in tokens, shares in percent."""
    print(f"{'trace':<14}{'learns on':>10}{'calls':>8}{'MAE p50':>9}{'<= p90':>8}{'<= p95':>8}", end="")
    print(f"{'saved/8192':>12}{'saved/+4096':>12}{'over p95':>10}{'over 8192':>10}{'over +4096':>11}{'ms':>7}")
    for one in scores:
        shares = (one.covered_by_p90, one.covered_by_p95)
        print(f"{one.trace:<14}{'yes' if one.online else 'no':>10}{one.calls:>8}", end="")
        print(f"{one.mean_absolute_error_p50_tokens:>9.1f}" + "".join(f"{share:>8.1%}" for share in shares), end="")
        print(f"{one.saving_against_8192:>12.1%}{one.saving_against_prompt_plus_4096:>12.1%}", end="")
        print(f"{one.overflow_of_p95:>10.1%}{one.overflow_of_8192:>10.1%}", end="")
        print(f"{one.overflow_of_prompt_plus_4096:>11.1%}{one.forecast_ms:>7.3f}")


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", nargs="+", type=Path, required=True, metavar="FILE", help="files to train on")
    parser.add_argument("--validation", nargs="+", type=Path, required=True, metavar="FILE", help="files to score")
    parser.add_argument("--half-life", type=float, default=PredictorConfig().half_life_outputs, metavar="OUTPUTS")
    parser.add_argument("--shrinkage", type=float, default=PredictorConfig().shrinkage_outputs, metavar="OUTPUTS")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    arguments = parser.parse_args()
    config = PredictorConfig(shrinkage_outputs=arguments.shrinkage, half_life_outputs=arguments.half_life)
    learnt = trained(arguments.trace, config)
    scores = [
        score(path, LengthPredictor.from_state(learnt.state(), config), online=online)
        for path in arguments.validation
        for online in (False, True)
    ]
    if arguments.json:
        print(json.dumps([asdict(one) for one in scores], indent=2))
    else:
        print_table(scores)


if __name__ == "__main__":
    main()
