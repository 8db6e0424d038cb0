"""Snapshots for property tests: everything the contract allows, small enough to plan in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st
from snapshot_builders import groups_of

from maestro.fleet import GpuBudget, ModelSpec, SpeedCoefficients
from maestro.snapshot import (
    AcceleratorState,
    LoadInForce,
    ObjectiveWeights,
    PlanInForce,
    PrefixReuse,
    ReplicaPhase,
    ReplicaPlace,
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

Groups = Mapping[tuple[str, str], tuple[str, ...]]

seconds = st.floats(min_value=0.0, max_value=12.0).map(lambda value: round(value, 3))


@st.composite
def models(draw: st.DrawFn, accelerators: int) -> dict[str, ModelSpec]:
    """One to three models, some pinned somewhere, now and then one that takes two accelerators."""
    found = {}
    for name in MODELS[: draw(st.integers(1, 3))]:
        speeds = {kind: SpeedCoefficients(1000.0, 50.0, 0.0, 0.0, 1.0) for kind in KINDS}
        pinned = draw(st.sampled_from([frozenset(), frozenset(), frozenset(), frozenset({f"gpu{accelerators - 1}"})]))
        weights = draw(st.integers(10, 60))
        pool = draw(st.integers(5, 30))
        batch, size = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2]))
        found[name] = ModelSpec(
            name, size * weights, 1, pool, 3, 4096, batch, speeds, pinned, tensor_parallel_size=size
        )
    return found


@st.composite
def accelerators(draw: st.DrawFn, specs: dict[str, ModelSpec], count: int) -> list[AcceleratorState]:
    """Accelerators with replicas in every phase; what they hold may already be too much."""
    found: list[AcceleratorState] = []
    for position in range(count):
        cluster = draw(st.sampled_from(CLUSTERS))
        node, kind = f"{cluster}-node{draw(st.integers(0, 1))}", draw(st.sampled_from(KINDS))
        if found and draw(st.booleans()):
            cluster, node, kind = found[-1].cluster, found[-1].node, found[-1].kind
        found.append(
            AcceleratorState(
                name=f"gpu{position}",
                node=node,
                cluster=cluster,
                kind=kind,
                memory_bytes=draw(st.integers(60, 160)),
                slots=draw(st.integers(1, 3)),
                kv_elastic=draw(st.booleans()),
                stretch=draw(st.dictionaries(st.sampled_from(sorted(specs)), st.floats(0.5, 3.0), max_size=1)),
            )
        )
    groups = groups_of(found, specs.values())
    return [replace(each, replicas=tuple(draw(replicas(specs, groups, each)))) for each in found]


@st.composite
def replicas(
    draw: st.DrawFn, specs: dict[str, ModelSpec], groups: Groups, accelerator: AcceleratorState
) -> list[ReplicaState]:
    """Up to two replicas that the accelerator names, in any phase."""
    found = []
    for name in draw(st.lists(st.sampled_from(sorted(specs)), max_size=2, unique=True)):
        if specs[name].tensor_parallel_size > 1 and (name, accelerator.name) not in groups:
            continue
        phase = draw(st.sampled_from(list(ReplicaPhase)))
        ready_s = draw(seconds) if phase is ReplicaPhase.LOADING else 0.0
        pool = 0 if accelerator.kv_elastic else specs[name].kv_pool_bytes + draw(st.sampled_from([0, 0, 0, 5, -3]))
        found.append(ReplicaState(name, 1, phase, ready_s, pool))
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


def prefixes(specs: dict[str, ModelSpec]) -> st.SearchStrategy[PrefixReuse]:
    """KV that still lies somewhere, or nowhere that there is."""
    places = st.sampled_from(["gpu0", "gpu1", "gpu2"])
    return st.builds(PrefixReuse, st.sampled_from(sorted(specs)), places, seconds)


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
                    reuse=draw(st.lists(prefixes(specs), max_size=1).map(tuple)),
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
    evicted = st.frozensets(st.sampled_from(pairs).map(lambda pair: ReplicaPlace(*pair)))
    loads = tuple(
        LoadInForce(accelerator, name, draw(due), draw(evicted), draw(st.booleans()))
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
        groups=groups_of(fleet, specs.values()),
    )
