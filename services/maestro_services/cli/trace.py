"""``maestro trace``: recorded calls of workflows, one JSON line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maestro_services.cli.output import JsonOption, emit, notices

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro.trace import TraceCall

app = typer.Typer(help="Traces: recorded calls of workflows.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Traces, JSON lines, plain or .gz.")],
    as_json: JsonOption = False,
) -> None:
    """Read traces as the predictor and the simulator do; ends with 2 where one cannot be used, naming file and line."""
    from maestro.trace import read_traces

    summary = _summary(read_traces(files))
    emit(summary, as_json=as_json, view=_view(summary))


@app.command()
def record(
    scenario: Annotated[Path, typer.Argument(help="The scenario that the scheduler runs with; its store is read.")],
    out: Annotated[Path, typer.Option(help="The trace; one that is there already is gone on with.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on as workflows end, until Ctrl-C.")] = False,
    without_texts: Annotated[bool, typer.Option("--without-texts", help="Keep nothing of what was written.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the workflows that have succeeded as a trace, on the machine of the scheduler, while it runs or after."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    from maestro.scenario import load
    from maestro_services.cli.trace_recording import Recording, drained
    from maestro_services.cli.trace_recording import record as recording

    store = load(scenario).scheduler.store
    columns = (SpinnerColumn(), TextColumn("{task.completed} workflows, {task.fields[calls]} calls"))
    printer = notices()
    with Progress(*columns, console=printer, transient=True, disable=not printer.is_terminal) as progress:
        task = progress.add_task("", total=None, calls=0)

        def show(done: Recording) -> None:
            progress.update(task, completed=done.workflows, calls=done.calls)

        done = drained(recording(store, out, texts=not without_texts, follow=follow), show)
    said = f"{done.workflows} workflows, {done.calls} calls written to {out}"
    emit({"workflows": done.workflows, "calls": done.calls, "trace": str(out)}, as_json=as_json, view=said)


def _summary(calls: Sequence[TraceCall]) -> dict[str, Any]:
    """Workflows and calls in all, and by app and role how many calls and how long on average."""
    by_role: dict[tuple[str, str], list[TraceCall]] = {}
    for call in calls:
        by_role.setdefault((call.app, call.role), []).append(call)
    return {
        "workflows": len({call.workflow_id for call in calls}),
        "calls": len(calls),
        "roles": [
            {
                "app": app_name,
                "role": role,
                "calls": len(found),
                "mean_prompt_tokens": sum(call.prompt_tokens for call in found) / len(found),
                "mean_completion_tokens": sum(call.completion_tokens for call in found) / len(found),
            }
            for (app_name, role), found in sorted(by_role.items())
        ],
    }


def _view(summary: dict[str, Any]) -> RenderableType:
    from rich.table import Table

    title = f"{summary['workflows']} workflows, {summary['calls']} calls"
    table = Table("app", "role", "calls", "prompt tokens", "output tokens", title=title, title_justify="left")
    for role in summary["roles"]:
        table.add_row(
            role["app"],
            role["role"],
            str(role["calls"]),
            f"{role['mean_prompt_tokens']:.0f}",
            f"{role['mean_completion_tokens']:.0f}",
        )
    return table
