"""``maestro predictor``: train, evaluate and use the predictor of output lengths on recorded traces."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro_services.cli.output import JsonOption, emit, notices

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro_solver.predictor.evaluation.report import GroupReport, Report
    from maestro_solver.predictor.stage_predictor import StagePredictor

app = typer.Typer(help="Forecast output lengths of LLM calls from recorded traces.", no_args_is_help=True)

TraceOption = Annotated[list[Path], typer.Option("--trace", help="JSON lines, plain or .gz, one LLM call each.")]
MoreTraces = Annotated[
    list[Path] | None, typer.Argument(metavar="[FILE]...", help="Further traces.", show_default=False)
]
ArtefactOption = Annotated[
    Path | None, typer.Option("--artefact", help="Folder that `train` wrote. Default: the one that ships with Maestro.")
]
OnlineOption = Annotated[bool, typer.Option("--online", help="Learn from earlier workflows of the trace.")]


@app.command()
def train(
    trace: TraceOption,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    more: MoreTraces = None,
    validation: Annotated[
        list[Path] | None, typer.Option("--validation", help="Traces of other tasks, for the model card's figures.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split, the start and the order.", min=0)] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the data.", min=1)] = 12,
    as_json: JsonOption = False,
) -> None:
    """Train on traces, calibrate on a tenth of their tasks, and write the artefact with its model card."""
    from maestro.trace import read_traces
    from maestro_solver.predictor.artefact import CARD_FILE, save
    from maestro_solver.predictor.evaluation.report import evaluated
    from maestro_solver.predictor.stage_predictor import StagePredictor
    from maestro_solver.predictor.training.card import model_card, provenance_of
    from maestro_solver.predictor.training.settings import TrainingSettings
    from maestro_solver.predictor.training.train import trained

    calls = read_traces([*trace, *(more or ())])
    unseen = read_traces(validation) if validation else ()
    settings = TrainingSettings(seed=seed, epochs=epochs)
    command = shlex.join(["maestro", *sys.argv[1:]])
    provenance = provenance_of(calls, settings, command, datetime.now(UTC).date())
    progress = notices()
    artefact = trained(
        calls, settings, provenance, lambda epoch, loss: progress.print(f"epoch {epoch}/{epochs}: loss {loss:.3f}")
    )
    save(artefact, out)
    report = evaluated(unseen, StagePredictor(artefact), artefact.medians, {}, online=False) if unseen else None
    (out / CARD_FILE).write_text(model_card(artefact, report), encoding="utf-8")
    size_bytes = sum(path.stat().st_size for path in out.iterdir())
    written = {"folder": out, "calls": len(calls), "size_bytes": size_bytes}
    emit(written, as_json=as_json, view=f"{out}: {size_bytes / 1e6:.1f} MB, trained on {len(calls):,} calls")


@app.command()
def evaluate(
    trace: TraceOption,
    more: MoreTraces = None,
    artefact: ArtefactOption = None,
    baseline_trace: Annotated[
        list[Path] | None,
        typer.Option("--baseline-trace", help="Train gradient boosting on these, for comparison (scikit-learn)."),
    ] = None,
    online: OnlineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score forecasts on traces: errors, coverage, order, KV reservations; overall, per app, role and phase."""
    from maestro.errors import InvalidInputError
    from maestro.trace import read_traces
    from maestro_solver.predictor.artefact import DEFAULT_FOLDER, load
    from maestro_solver.predictor.evaluation.baselines import boosting_forecasts, medians_of
    from maestro_solver.predictor.evaluation.report import evaluated
    from maestro_solver.predictor.stage_predictor import StagePredictor

    calls = read_traces([*trace, *(more or ())])
    learnt = load(artefact or DEFAULT_FOLDER)
    medians, baselines = learnt.medians, {}
    if baseline_trace:
        training = read_traces(baseline_trace)
        medians, baselines = medians_of(training), {"gradient boosting": boosting_forecasts(training, calls)}
    report = evaluated(calls, StagePredictor(learnt), medians, baselines, online=online)
    if report is None:
        raise InvalidInputError("trace", "holds no output that ended by itself", remedy="give a trace with some")
    emit(report, as_json=as_json, view=_view(report))


@app.command()
def predict(
    trace: Annotated[Path, typer.Option("--trace", help="JSON lines, plain or .gz, one LLM call each.")],
    artefact: ArtefactOption = None,
    online: OnlineOption = False,
    _as_json: JsonOption = False,
) -> None:
    """Print a JSON line per call, in the file's order, forecast from what was known before that call.

    With --json errors are JSON, too.
    """
    from maestro.trace import read_trace
    from maestro_solver.predictor.evaluation.replay import replayed

    for one in replayed(read_trace(trace), _predictor(artefact), online=online):
        lengths = {f"p{100 * share:.0f}": round(one.at(share), 2) for share in (0.1, 0.5, 0.9, 0.95)}
        line = {"workflow_id": one.call.workflow_id, "step": one.call.step, **lengths}
        sys.stdout.write(json.dumps(line) + "\n")


@app.command()
def remaining(
    trace: Annotated[Path, typer.Option("--trace", help="JSON lines, plain or .gz, one LLM call each.")],
    learnt_from: Annotated[
        list[Path] | None, typer.Option("--learnt-from", help="Traces of workflows that had ended before.")
    ] = None,
    _as_json: JsonOption = False,
) -> None:
    """Print a JSON line per call: the calls and output tokens still to come of a workflow that reveals itself.

    It is foretold before the call, from the workflows of its app that came earlier; the first one has no lines.
    """
    from maestro.trace import read_trace, read_traces
    from maestro_solver.predictor.evaluation.remaining import foretold
    from maestro_solver.predictor.templates import WorkflowTemplates

    templates = WorkflowTemplates()
    for _ in foretold(read_traces(learnt_from) if learnt_from else (), templates):
        pass
    for one in foretold(read_trace(trace), templates):
        line = {
            "workflow_id": one.call.workflow_id,
            "step": one.call.step,
            "calls": dict(zip(("p10", "p50", "p90"), one.calls, strict=True)),
            "output_tokens": dict(zip(("p10", "p50", "p90"), one.output_tokens, strict=True)),
            "expected": [{"role": role, "phase": phase, "calls": n} for (role, phase), n in one.places.items()],
        }
        sys.stdout.write(json.dumps(line) + "\n")


def _predictor(folder: Path | None) -> StagePredictor:
    """Return the predictor; role statistics alone, with a word about it, where the artefact cannot be used."""
    from maestro_solver.predictor.artefact import DEFAULT_FOLDER
    from maestro_solver.predictor.stage_predictor import StagePredictor

    predictor = StagePredictor.load(folder or DEFAULT_FOLDER)
    if predictor.fallback_reason:
        notices().print(f"maestro: role statistics forecast alone, since {predictor.fallback_reason}")
    return predictor


def _view(report: Report) -> RenderableType:
    from rich.console import Group

    return Group(
        _error_table([report.overall, *report.by_app, *report.by_role]),
        _reservation_table([report.overall, *report.by_app]),
    )


def _error_table(groups: Sequence[GroupReport]) -> RenderableType:
    from rich.table import Table

    others = list(groups[0].scores.baseline_errors)
    table = Table("calls of", "calls", "MAE", *others, "pinball", "<= p50", "<= p90", "<= p95", "tau", title="errors")
    for group in groups:
        scores = group.scores
        table.add_row(
            ", ".join(group.group) or "all",
            str(scores.calls),
            f"{scores.mean_absolute_error_tokens:.1f}",
            *(f"{scores.baseline_errors[name]:.1f}" for name in others),
            f"{scores.pinball_tokens:.1f}",
            *(f"{share:.1%}" for share in scores.covered.values()),
            "-" if scores.kendall_tau is None else f"{scores.kendall_tau:.2f}",
        )
    return table


def _reservation_table(groups: Sequence[GroupReport]) -> RenderableType:
    from rich.table import Table

    table = Table(
        "calls of", "reserved", "overflow", "saved of 8,192", "possible", "saved of prompt + 4,096", "possible", "share"
    )
    table.title = "KV reservation: prompt and a quantile of the output"
    for group in groups:
        for one in group.reservations:
            shares = (
                one.overflow,
                one.saved_of_stage,
                one.possible_of_stage,
                one.saved_of_generous,
                one.possible_of_generous,
                one.share_of_possible,
            )
            table.add_row(", ".join(group.group) or "all", one.quantile, *(f"{share:.1%}" for share in shares))
    return table
