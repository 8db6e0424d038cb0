"""Snapshots for property tests: everything the contract allows, small enough to plan in milliseconds."""

from __future__ import annotations

from hypothesis import strategies as st

from maestro.fleet import GpuBudget, ModelSpec, SpeedCoefficients
from maestro.snapshot import (
    AcceleratorState,
    LoadInForce,
    ObjectiveWeights,
    PlanInForce,
    ReplicaPhase,
    ReplicaState,
    RunningStage,
    RunOption,
    Snapshot,
    StageKey,
    StartInForce,
    WaitingStage,
    WorkflowState,
)

KINDS = ("fast", "slow")
MODELS = ("alpha", "beta", "gamma")
CLUSTERS = ("east", "west")

seconds = st.floats(min_value=0.0, max_value=12.0).map(lambda value: round(value, 3))


@st.composite
def models(draw: st.DrawFn, accelerators: int) -> dict[str, ModelSpec]:
    """One to three models, some pinned somewhere."""
    found = {}
    for name in MODELS[: draw(st.integers(1, 3))]:
        speeds = {kind: SpeedCoefficients(1000.0, 50.0, 0.0, 0.0, 1.0) for kind in KINDS}
        pinned = draw(st.sampled_from([frozenset(), frozenset(), frozenset(), frozenset({f"gpu{accelerators - 1}"})]))
        weights = draw(st.integers(10, 60))
        pool = draw(st.integers(5, 30))
        found[name] = ModelSpec(name, weights, 1, pool, 3, 4096, draw(st.integers(1, 3)), speeds, pinned)
    return found


@st.composite
def accelerators(draw: st.DrawFn, specs: dict[str, ModelSpec], count: int) -> list[AcceleratorState]:
    """Accelerators with replicas in every phase; what they hold may already be too much."""
    found = []
    for position in range(count):
        elastic = draw(st.booleans())
        replicas = []
        for name in draw(st.lists(st.sampled_from(sorted(specs)), max_size=2, unique=True)):
            phase = draw(st.sampled_from(list(ReplicaPhase)))
            ready_s = draw(seconds) if phase is ReplicaPhase.LOADING else 0.0
            pool = 0 if elastic else specs[name].kv_pool_bytes + draw(st.sampled_from([0, 0, 0, 5, -3]))
            replicas.append(ReplicaState(name, 1, phase, ready_s, pool))
        cluster = draw(st.sampled_from(CLUSTERS))
        found.append(
            AcceleratorState(
                name=f"gpu{position}",
                node=f"{cluster}-node{draw(st.integers(0, 1))}",
                cluster=cluster,
                kind=draw(st.sampled_from(KINDS)),
                memory_bytes=draw(st.integers(60, 160)),
                slots=draw(st.integers(1, 3)),
                kv_elastic=elastic,
                replicas=tuple(replicas),
            )
        )
    return found


@st.composite
def running_stages(draw: st.DrawFn, fleet: list[AcceleratorState]) -> list[RunningStage]:
    """Stages that run on replicas that can serve, and running tool stages."""
    found = []
    for accelerator in fleet:
        for replica in accelerator.replicas:
            if replica.phase in {ReplicaPhase.READY, ReplicaPhase.DRAINING} and draw(st.booleans()):
                key = StageKey(f"w{draw(st.integers(0, 2))}", f"r{len(found)}")
                found.append(
                    RunningStage(key, accelerator.name, replica.model, draw(seconds), 20.0, draw(st.integers(1, 5)))
                )
    if draw(st.booleans()):
        found.append(RunningStage(StageKey("w0", "running-tool"), None, None, draw(seconds), 20.0, 0))
    return found


@st.composite
def waiting_stages(draw: st.DrawFn, specs: dict[str, ModelSpec], running: list[RunningStage]) -> list[WaitingStage]:
    """Stages of up to three workflows; predecessors wait, run, or (rarely) are not in the snapshot."""
    found: list[WaitingStage] = []
    for workflow in range(3):
        earlier: list[StageKey] = [stage.key for stage in running if stage.key.workflow == f"w{workflow}"]
        for position in range(draw(st.integers(0, 4))):
            key = StageKey(f"w{workflow}", f"s{position}")
            before = draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True)) if earlier else []
            if draw(st.integers(0, 30)) == 0:
                before = [*before, StageKey(f"w{workflow}", "omitted")]
            is_tool = draw(st.integers(0, 5)) == 0
            names = draw(st.lists(st.sampled_from(sorted(specs)), min_size=1, max_size=2, unique=True))
            options = tuple(
                RunOption(name, kind, draw(seconds) + (kind == "slow"), 20.0, draw(st.integers(1, 25)))
                for name in names
                for kind in draw(st.sampled_from([KINDS, KINDS[:1]]))
            )
            found.append(
                WaitingStage(
                    key=key,
                    predecessors=tuple(before),
                    options=() if is_tool else options,
                    tail_s=draw(seconds),
                    external_s=draw(seconds) if is_tool else None,
                    inputs_from=frozenset(draw(st.lists(st.sampled_from(CLUSTERS), max_size=1))),
                    not_before_s=draw(st.sampled_from([0.0, 0.0, 3.3])),
                    first=draw(st.integers(0, 5)) == 0,
                )
            )
            earlier.append(key)
    return found


@st.composite
def plans_in_force(draw: st.DrawFn, waiting: list[WaitingStage], pairs: list[tuple[str, str]]) -> PlanInForce:
    """Decisions of any plan, possible or not; often there is none."""
    if not pairs or draw(st.booleans()):
        return PlanInForce()
    due = st.floats(-5.0, 30.0)
    starts = tuple(
        StartInForce(stage.key, accelerator, name, draw(due), draw(st.booleans()))
        for stage in waiting
        if stage.external_s is None and draw(st.booleans())
        for name, accelerator in (draw(st.sampled_from(pairs)),)
    )
    loads = tuple(
        LoadInForce(
            accelerator, name, draw(due), frozenset(draw(st.lists(st.sampled_from(MODELS)))), draw(st.booleans())
        )
        for name, accelerator in draw(st.lists(st.sampled_from(pairs), max_size=3))
    )
    return PlanInForce(starts, loads)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot."""
    count = draw(st.integers(0, 3))
    specs = draw(models(count))
    fleet = draw(accelerators(specs, count))
    running = draw(running_stages(fleet))
    waiting = draw(waiting_stages(specs, running))
    pairs = [(name, accelerator.name) for name in specs for accelerator in fleet]
    weight = st.sampled_from([0.0, 1.0, 10.0])
    return Snapshot(
        version=3,
        taken_at_s=100.0,
        accelerators=tuple(fleet),
        models=specs,
        load_s={pair: draw(seconds) for pair in pairs if draw(st.integers(0, 4)) > 0},
        workflows=tuple(
            WorkflowState(
                id=f"w{position}",
                deadline_s=draw(st.floats(-20.0, 60.0)),
                weight=draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
                age_s=float(1000 - position),
                slo_class=draw(st.sampled_from(["interactive", "standard", "batch", "other"])),
                remaining_work_s=draw(seconds),
            )
            for position in range(3)
        ),
        waiting=tuple(waiting),
        running=tuple(running),
        budget=GpuBudget(draw(st.integers(0, 3)), draw(st.sampled_from([{}, {}, {"east": 1}, {"west": 0}]))),
        network_delay_s=draw(st.sampled_from([0.0, 0.7])),
        weights=ObjectiveWeights(
            late=draw(weight),
            tardy=draw(weight),
            tardy_cap_s=draw(st.sampled_from([0.0, 5.0, 60.0])),
            latency=draw(weight),
            swap=draw(weight),
            network=draw(weight),
            gpu=draw(weight),
            churn=draw(weight),
        ),
        in_force=draw(plans_in_force(waiting, pairs)),
    )
