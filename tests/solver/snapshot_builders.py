"""Short ways to write snapshots and plans by hand in tests: sizes are plain numbers, times are seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro.fleet import GpuBudget, ModelSpec, SpeedCoefficients
from maestro.plan import Assignment, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.snapshot import (
    AcceleratorState,
    ObjectiveWeights,
    ReplicaPhase,
    ReplicaState,
    RunningStage,
    RunOption,
    Snapshot,
    StageKey,
    WaitingStage,
    WorkflowState,
)


def model(
    name: str, weights: int = 50, pool: int = 20, batch: int = 4, pinned_on: Iterable[str] = (), size: int = 1
) -> ModelSpec:
    """A model of ``weights`` and 5 of overhead; ``size`` is how many accelerators a replica takes at once."""
    speeds = {"gpu": SpeedCoefficients(1000.0, 50.0, 0.0, 0.0, 1.0)}
    return ModelSpec(name, weights, 1, pool, 5, 4096, batch, speeds, frozenset(pinned_on), tensor_parallel_size=size)


def replica(
    name: str, phase: ReplicaPhase = ReplicaPhase.READY, ready_in_s: float = 0.0, pool: int = 20
) -> ReplicaState:
    return ReplicaState(name, 1, phase, ready_in_s, pool)


def accelerator(
    name: str,
    *replicas: ReplicaState,
    memory: int = 100,
    slots: int = 4,
    elastic: bool = False,
    cluster: str = "east",
    node: str = "",
) -> AcceleratorState:
    return AcceleratorState(name, node or f"{cluster}-{name}", cluster, "gpu", memory, slots, elastic, replicas)


def stage(
    name: str,
    model_name: str = "alpha",
    duration_s: float = 5.0,
    kv: int = 5,
    after: Iterable[str] = (),
    workflow: str = "w",
    tail_s: float = 5.0,
    not_before_s: float = 0.0,
    inputs_from: Iterable[str] = (),
) -> WaitingStage:
    return WaitingStage(
        key=StageKey(workflow, name),
        predecessors=tuple(StageKey(workflow, before) for before in after),
        options=(RunOption(model_name, "gpu", duration_s, 1.5 * duration_s, kv),),
        tail_s=tail_s,
        inputs_from=frozenset(inputs_from),
        not_before_s=not_before_s,
    )


def tool(name: str, external_s: float, after: Iterable[str] = (), workflow: str = "w") -> WaitingStage:
    predecessors = tuple(StageKey(workflow, before) for before in after)
    return WaitingStage(StageKey(workflow, name), predecessors, (), external_s, external_s=external_s)


def running(name: str, on: str, model_name: str, remaining_s: float, kv: int = 5, workflow: str = "w") -> RunningStage:
    return RunningStage(StageKey(workflow, name), on, model_name, remaining_s, remaining_s, kv)


def workflow(
    name: str = "w", deadline_s: float = 100.0, weight: float = 1.0, slo_class: str = "standard"
) -> WorkflowState:
    return WorkflowState(name, deadline_s, weight, 0.0, slo_class, 10.0)


def groups_of(
    accelerators: Iterable[AcceleratorState], specs: Iterable[ModelSpec]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Neighbours of one kind of each node, as many as each tensor-parallel model takes."""
    by_node: dict[tuple[str, str], list[str]] = {}
    for found in accelerators:
        by_node.setdefault((found.node, found.kind), []).append(found.name)
    return {
        (spec.name, names[first]): tuple(names[first : first + spec.tensor_parallel_size])
        for spec in specs
        if spec.tensor_parallel_size > 1
        for names in by_node.values()
        for first in range(0, len(names) - spec.tensor_parallel_size + 1, spec.tensor_parallel_size)
    }


def snapshot(
    accelerators: Iterable[AcceleratorState],
    waiting: Iterable[WaitingStage],
    running: Iterable[RunningStage] = (),
    models: Iterable[ModelSpec] = (),
    load_s: float | Mapping[tuple[str, str], float] = 10.0,
    workflows: Iterable[WorkflowState] = (),
    budget: GpuBudget | None = None,
    network_delay_s: float = 0.0,
    weights: ObjectiveWeights | None = None,
) -> Snapshot:
    """A snapshot; by default of models alpha and beta, each loadable everywhere, and of the workflows that occur.

    Tensor-parallel models have the groups of :func:`groups_of`.
    """
    accelerators, waiting, running = tuple(accelerators), tuple(waiting), tuple(running)
    specs = {spec.name: spec for spec in (tuple(models) or (model("alpha"), model("beta")))}
    loads = (
        dict(load_s)
        if isinstance(load_s, Mapping)
        else {(name, found.name): load_s for name in specs for found in accelerators}
    )
    groups = groups_of(accelerators, specs.values())
    names = dict.fromkeys(found.key.workflow for found in (*waiting, *running))
    return Snapshot(
        version=7,
        taken_at_s=1000.0,
        accelerators=accelerators,
        models=specs,
        load_s=loads,
        workflows=tuple(workflows) or tuple(workflow(name) for name in names),
        waiting=waiting,
        running=running,
        budget=budget or GpuBudget(len(accelerators)),
        network_delay_s=network_delay_s,
        weights=weights or ObjectiveWeights(),
        groups=groups,
    )


def assignment(
    name: str, on: str, start_s: float, model_name: str = "alpha", duration_s: float = 5.0, kv: int = 5
) -> Assignment:
    return Assignment(StageKey("w", name), on, model_name, start_s, start_s + duration_s, kv)


def initial(
    on: str, model_name: str = "alpha", end_s: float | None = None, ready_s: float = 0.0, pool: int = 20
) -> Residency:
    return Residency(on, model_name, 0.0, ready_s, end_s, initial=True, kv_pool_bytes=pool)


def load(
    on: str, model_name: str, start_s: float, ready_s: float, end_s: float | None = None, pool: int = 20
) -> Residency:
    return Residency(on, model_name, start_s, ready_s, end_s, initial=False, kv_pool_bytes=pool)


def plan_of(
    assignments: Iterable[Assignment],
    residencies: Iterable[Residency],
    deferred: Iterable[object] = (),
    horizon_s: float = 60.0,
) -> Plan:
    provenance = Provenance(7, PlanSource.PORTFOLIO, SolveStatus.HEURISTIC, 0.0, {})
    return Plan(1000.0, horizon_s, tuple(assignments), tuple(residencies), tuple(deferred), provenance)  # type: ignore[arg-type]
