"""The model card that goes with an artefact: from what it was made, how, and what it is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from maestro.trace import TraceCall
from maestro_solver.predictor.artefact import VERSION, Artefact
from maestro_solver.predictor.evaluation.report import GroupReport, Report
from maestro_solver.predictor.training.settings import TrainingSettings

LICENCES: Mapping[str, str] = {
    "OTOYO1020/ChatDev_Intermediate": "Apache-2.0",
    "sierra-research/tau2-bench": "MIT",
    "callanjfox/kv-cache-tester": "Apache-2.0",
    "Azure/AzurePublicDataset": "CC-BY-4.0",
    "kvcache-ai/Mooncake": "Apache-2.0",
}
"""Under which licences public traces were published."""

_USE = """\
Forecasts how many tokens an LLM call of an agent workflow will produce, before it runs, as a distribution (p10 to
p99). For scheduling and for KV reservations beside the overflow that is named with them; not a bound.

It reads names (app, role, phase, model), sizes and lengths of the workflow's earlier calls, and hashed words of the
head of the prompt. It holds no text: words are hashed to 4,096 rows of weights.

Lengths learnt in one place do not hold in the next: on an app it never saw, forecasts start wide of the mark and are
calibrated online, from the outputs of the first workflows. It was trained on recordings of software agents, customer
service agents and their simulated users, in English. In recordings whose phase says how a call ended (tool_call or
reply), the phase is known only afterwards, and figures are better than they can be in use."""


def provenance_of(calls: Sequence[TraceCall], settings: TrainingSettings, command: str, day: date) -> dict[str, object]:
    """Return what is kept with an artefact about how it was made."""
    counts = Counter(call.source or "not stated" for call in calls)
    return {
        "date": day.isoformat(),
        "command": command,
        "settings": asdict(settings),
        "sources": [
            {"source": source, "licence": LICENCES.get(source, "not stated"), "calls": count}
            for source, count in counts.most_common()
        ],
    }


def model_card(artefact: Artefact, report: Report | None) -> str:
    """Return the card as Markdown; ``report`` is that of calls of tasks that training never saw."""
    training: Mapping[str, Any] = artefact.training
    parameters = sum(getattr(artefact.network.weights, name).size for name in artefact.network.weights.__slots__)
    lines = [
        "# Model card: the length predictor",
        "",
        f"Version {VERSION}, trained on {training['date']}, {parameters:,} parameters. Licence: Apache-2.0.",
        "",
        "    " + training["command"],
        "",
        "## Use and limits",
        "",
        _USE,
        "",
        "## Data",
        "",
        f"{training['calls']:,} calls of {training['workflows']:,} workflows to train on, "
        f"{training['calibration_calls']:,} of {training['calibration_workflows']:,} to calibrate with; "
        "no task is in both.",
        "",
        "| source | licence | calls |",
        "| --- | --- | --- |",
        *(f"| {one['source']} | {one['licence']} | {one['calls']:,} |" for one in training["sources"]),
        "",
        *(_figures(report) if report else ("## Figures", "", "None: it was trained without validation traces.")),
        "",
    ]
    return "\n".join(lines)


def _figures(report: Report) -> list[str]:
    header = ["calls of", "calls", "MAE", "median by role", "p90 covers", "p95 covers", "Kendall tau"]
    return [
        "## Figures",
        "",
        "On tasks that training never saw, without learning from them; mean absolute error (MAE) in tokens.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *(_figure_line(group) for group in (report.overall, *report.by_app, *report.by_role)),
    ]


def _figure_line(group: GroupReport) -> str:
    scores = group.scores
    cells = [
        ", ".join(group.group) or "all",
        f"{scores.calls:,}",
        f"{scores.mean_absolute_error_tokens:.1f}",
        f"{scores.baseline_errors['(app, role, phase) median']:.1f}",
        f"{scores.covered['p90']:.1%}",
        f"{scores.covered['p95']:.1%}",
        "-" if scores.kendall_tau is None else f"{scores.kendall_tau:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"
