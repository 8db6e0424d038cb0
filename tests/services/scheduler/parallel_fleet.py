"""A node of four accelerators, a model that takes one of them, and one that takes two at once."""

from __future__ import annotations

from dataclasses import replace

from core_driver import Driver, core_config
from service_world import GIB, MIB, call

from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, GpuBudget, ModelSpec, NetworkSpec, NodeSpec
from maestro.fleet import SpeedCoefficients as Speed
from maestro.snapshot import ReplicaPhase
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core import PromptRules
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES

NODE = "left-node"
POOL = 256 * MIB


def model(name: str, size: int) -> ModelSpec:
    """Each accelerator of a replica holds 3.25 GiB, its share of the pool included."""
    shape = (2 * GIB * size, 1 << 14, POOL * size, GIB * size, 4096, 4)
    return ModelSpec(name, *shape, {"sim": Speed(20_000.0, 400.0, 0.05, 0.5, 0.2)}, tensor_parallel_size=size)


def fleet(memory_gib: int = 4, *, elastic: bool = False, sleeping: bool = False) -> Fleet:
    """Accelerators g0 to g3: with 4 GiB each holds one replica, or its share of one, with 8 GiB two."""
    specs = tuple(AcceleratorSpec(f"g{index}", "sim", memory_gib * GIB, 4, elastic) for index in range(4))
    node = NodeSpec(NODE, specs, 8 * GIB, 1e11, 1e11, engines_sleep=sleeping)
    models = {"writer": model("writer", 1), "wide": model("wide", 2)}
    return Fleet((ClusterSpec("left", (node,)),), models, NetworkSpec(), GpuBudget(4))


def driver(of: Fleet | None = None, policy: str | None = "edf", **changes: object) -> Driver:
    """A core on that fleet whose node is up and has nothing; ``policy`` None: plans decide."""
    the_fleet, base = of or fleet(), core_config()
    prompts = dict.fromkeys(the_fleet.models, next(iter(base.prompts.values())))
    assert all(isinstance(rules, PromptRules) for rules in prompts.values())
    config = replace(base, fleet=the_fleet, prompts=prompts, dispatch=policy and DISPATCH_POLICIES[policy])
    made = Driver(replace(config, **changes))  # type: ignore[arg-type]
    made.bring_up(NODE)
    return made


def single(name: str, **changes: object) -> WorkflowSpec:
    """A workflow of one stage of a model."""
    return WorkflowSpec("essays", (replace(call("only", models=(name,)), **changes),))  # type: ignore[arg-type]


def shown(
    accelerator: str, name: str, generation: int = 1, phase: ReplicaPhase = ReplicaPhase.READY
) -> on.ReplicaReport:
    """A node's report of a replica; one of the wide model has the accelerator beside it as its peer."""
    size = 2 if name == "wide" else 1
    peers = tuple(f"g{int(accelerator[1:]) + 1}" for _ in range(size - 1))
    return on.ReplicaReport(accelerator, name, generation, phase, POOL * size, 0.2, "", peers)


def accelerator(made: Driver, name: str) -> AcceleratorRecord:
    """What the core keeps of an accelerator."""
    return made.core._state.accelerators[name]


def loads(made: Driver) -> list[tuple[str, str, tuple[str, ...]]]:
    """The loads that were ordered and not taken yet."""
    return [
        (load.model, load.accelerator, load.peers)
        for load in made.take(do.LoadReplica)
        if isinstance(load, do.LoadReplica)
    ]


def unloads(made: Driver) -> list[do.UnloadReplica]:
    """The unloads that were ordered and not taken yet."""
    return [unload for unload in made.take(do.UnloadReplica) if isinstance(unload, do.UnloadReplica)]
