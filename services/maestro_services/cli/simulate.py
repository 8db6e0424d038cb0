"""``maestro simulate``: a scenario's fleet in virtual time, under a workload and a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maestro_services.cli.output import JsonOption, emit, notices

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro_services.simulation.experiment import Experiment

DEFAULT_WORKLOAD = "agents"
DEFAULT_DURATION_S = 1800.0
UNLIMITED_S = 1e9


def simulate(  # noqa: PLR0913, PLR0917 - the options of one command
    scenario: Annotated[Path, typer.Argument(help="The scenario whose fleet, models and limits are simulated.")],
    policy: Annotated[str, typer.Option(help="planner, oracle, edf, ...; a wrong one is answered with the list.")],
    trace: Annotated[list[Path] | None, typer.Option(help="Recorded workflows to replay; may be repeated.")] = None,
    workload: Annotated[str, typer.Option(help="Synthetic family, where no trace is given.")] = DEFAULT_WORKLOAD,
    models_map: Annotated[str, typer.Option(help="app/role=model,...; others fall on models by default.")] = "",
    arrivals: Annotated[Path | None, typer.Option(help="A trace whose arrival times are replayed.")] = None,
    process: Annotated[str, typer.Option(help="Arrivals otherwise: poisson, bursty or diurnal.")] = "poisson",
    load: Annotated[float | None, typer.Option(help="Arrival rate, 1 where EDF attains 90 %.", min=0.001)] = None,
    rate: Annotated[float | None, typer.Option(help="Arrival rate, workflows a second.", min=0.000001)] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Time in which workflows arrive, seconds; 1800, or as long as it takes.", min=1.0),
    ] = None,
    workflows: Annotated[int | None, typer.Option(help="Workflows that arrive at most.", min=1)] = None,
    seeds: Annotated[int, typer.Option(help="Seeds 1 to this are run.", min=1)] = 1,
    plan_interval: Annotated[float | None, typer.Option(help="Least time between plans, seconds.", min=0.0)] = None,
    engine_mtbf: Annotated[
        float | None, typer.Option(help="Mean seconds between the deaths of engines on one accelerator.", min=1.0)
    ] = None,
    node_mtbf: Annotated[float | None, typer.Option(help="Mean seconds until a node crashes.", min=1.0)] = None,
    repair: Annotated[float, typer.Option(help="Seconds until a crashed node is back.", min=0.1)] = 60.0,
    faults: Annotated[Path | None, typer.Option(help="Faults at given instants, JSON lines.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes that share the seeds.", min=1)] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster that shares the seeds; local: this machine's cores.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the results; an interrupted run resumes from it.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="File for all that happens, JSON lines; one seed, no out.")
    ] = None,
    snapshots: Annotated[
        Path | None, typer.Option(help="Folder for snapshots that maestro plan reads; one seed, no out.")
    ] = None,
    snapshot_every: Annotated[float, typer.Option(help="Virtual seconds between snapshots.", min=0.001)] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Simulate a scenario: the real scheduler and planner, with engines made of its performance model."""
    from contextlib import ExitStack
    from functools import partial

    from rich.progress import Progress

    from maestro.errors import InvalidInputError
    from maestro_services.simulation.experiment import run
    from maestro_services.simulation.policies import policy_named
    from maestro_services.simulation.recorder import recording
    from maestro_services.simulation.snapshot_recording import SnapshotRecorder
    from maestro_services.simulation.sweep import sweep

    policy_named(policy)  # what is wrong is said before minutes of looking for the rate
    if load is not None and rate is not None:
        raise InvalidInputError("load", "and rate are both given", remedy="give one of them")
    for option, path in (("record", record), ("snapshots", snapshots)):
        if path is not None and (seeds > 1 or out is not None):
            raise InvalidInputError(option, "goes with one seed and no out", remedy="leave seeds and out away")
    experiment = _experiment(
        scenario, trace or [], workload, models_map, arrivals, process, duration, workflows, plan_interval
    )
    experiment = _with_faults(experiment, engine_mtbf, node_mtbf, repair, faults)
    experiment = _at_rate(experiment, load, rate, scenario)
    with Progress(console=notices(), transient=True) as bar:
        tasks = {seed: bar.add_task(f"seed {seed}", total=1.0) for seed in range(1, seeds + 1)}

        def show(seed: int, share: float) -> None:
            bar.update(tasks[seed], completed=share)

        if record is None and snapshots is None:
            results = sweep(experiment, policy, range(1, seeds + 1), out=out, jobs=jobs, ray=ray, progress=show)
        else:
            with ExitStack() as files:
                recorder = files.enter_context(recording(record)) if record else None
                kept = SnapshotRecorder(snapshots, snapshot_every) if snapshots else None
                results = {"seeds": [run(experiment, policy_named(policy), 1, partial(show, 1), recorder, kept)]}
    emit(results, as_json=as_json, view=_view(results["seeds"], policy))


def _experiment(  # noqa: PLR0913, PLR0917 - the options of one command
    scenario_file: Path,
    traces: list[Path],
    workload: str,
    models_map: str,
    arrivals: Path | None,
    process: str,
    duration: float | None,
    workflows: int | None,
    plan_interval: float | None,
) -> Experiment:
    from maestro.errors import InvalidInputError
    from maestro.scenario import load as load_scenario
    from maestro.trace import read_trace, read_traces
    from maestro_services.simulation.experiment import Experiment
    from maestro_services.simulation.workload import arrivals as arriving
    from maestro_services.simulation.workload import models_map as mapping
    from maestro_services.simulation.workload.families import family
    from maestro_services.simulation.workload.template import templates_of
    from maestro_services.simulation.world import Window

    scenario = load_scenario(scenario_file)
    calls = read_traces(traces) if traces else ()
    templates = templates_of(calls) if traces else family(workload)
    instants: tuple[float, ...] = ()
    if arrivals is not None:
        came = {call.workflow_id: call.arrival_s for call in read_trace(arrivals) if call.arrival_s is not None}
        instants = tuple(came.values())
        if not instants:
            raise InvalidInputError("arrivals", "holds no arrival times", value=str(arrivals))
    if process not in list(arriving.Process):
        known = ", ".join(arriving.Process)
        raise InvalidInputError("process", "is not known", value=process, remedy=f"use one of {known}")
    models = scenario.model_specs
    chosen = mapping.spread(templates, models) | mapping.recorded(calls, models) | mapping.parse(models_map, models)
    return Experiment(
        scenario,
        templates,
        chosen,
        None,
        Window(duration or (DEFAULT_DURATION_S if workflows is None else UNLIMITED_S), workflows),
        arriving.Process(process),
        instants,
        plan_interval_s=plan_interval,
    )


def _with_faults(
    experiment: Experiment, engine_mtbf_s: float | None, node_mtbf_s: float | None, repair_s: float, file: Path | None
) -> Experiment:
    from dataclasses import replace

    from maestro_services.scheduler.settings import settings_of
    from maestro_services.simulation.faults import FaultModel, scheduled

    planned = scheduled(file, settings_of(experiment.scenario).core.fleet) if file is not None else ()
    return replace(experiment, faults=FaultModel(engine_mtbf_s, node_mtbf_s, repair_s, planned))


def _at_rate(experiment: Experiment, load: float | None, rate: float | None, scenario_file: Path) -> Experiment:
    """The experiment at the asked rate; recorded arrivals are left as they are where none is asked."""
    from dataclasses import replace

    from maestro_services.simulation.contention import NOMINAL_ATTAINMENT, rate_at

    if rate is None and (load is not None or not experiment.instants):
        notices().print("looking for the rate at which EDF attains 90 % (once for this fleet and workload)")
        cache = scenario_file.resolve().parent.parent / ".maestro" / "contention"
        rate = (load or 1.0) * rate_at(experiment, NOMINAL_ATTAINMENT, cache)
    return replace(experiment, rate_per_s=rate)


def _view(seeds: list[dict[str, Any]], policy: str) -> RenderableType:
    from rich.table import Table

    table = Table("seed", "workflows", "attained", "weighted", "stages", "stages/s", "overflow", "loads", title=policy)
    for result in seeds:
        table.add_row(
            str(result["seed"]),
            str(result["workflows"]),
            f"{result['attainment']['overall']:.1%}",
            f"{result['attainment']['weighted']:.1%}",
            str(result["stages"]),
            f"{result['stages_per_s']:.0f}",
            f"{result['overflow_rate']:.1%}",
            str(result["cold_starts"]),
        )
    return table
