"""A whole Maestro in one process: a scheduler and nodes with simulated engines, on free ports of the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from maestro.client import AsyncClient
from maestro.costs import LengthForecast
from maestro.events import StageTokens
from maestro.fleet import (
    AcceleratorSpec,
    ClusterSpec,
    Fleet,
    GpuBudget,
    ModelSpec,
    NetworkSpec,
    NodeSpec,
    SpeedCoefficients,
)
from maestro.performance import ReservationQuantile
from maestro.snapshot import ObjectiveWeights
from maestro.special_tokens import SpecialTokens
from maestro.tokens import estimate_tokens
from maestro.validation import WorkflowLimits
from maestro.workflow import ChatMessage, LlmStage, Sampling, WorkflowSpec
from maestro_node.config import EngineKind, EngineSettings, NodeConfig
from maestro_node.server.serve import serve as serve_node
from maestro_services.scheduler.core import CoreConfig, PromptRules, RetryPolicy, SloClass
from maestro_services.scheduler.serve import Scheduler
from maestro_services.scheduler.settings import SchedulerSettings
from maestro_solver.planner import PlannerConfig
from maestro_solver.predictor import PredictorConfig

GIB = 1 << 30
MIB = 1 << 20
PATIENCE_S = 240.0
"""How long a test waits for what comes in a second or two: whether it comes, not when, is claimed."""
QUICK_PLANS_S = 0.5
PLANS_IN_ANY_CASE_S = 5.0
"""A planner's limit within which the exact model answers on a machine that is ten times slower, too."""
DAWDLING_TOKENS_PER_S = 4.0
"""An engine so slow that a long stage runs for as long as a test may want it to."""


def model(name: str, *, start_s: float = 0.2) -> ModelSpec:
    """A small fast model; one replica fills most of an accelerator of 4 GiB."""
    speeds = {"sim": SpeedCoefficients(20_000.0, 400.0, 0.05, 0.5, start_s)}
    return ModelSpec(name, 2 * GIB, 1 << 14, 256 * MIB, GIB, 4096, 4, speeds)


def node(name: str, memory_bytes: int = 4 * GIB) -> NodeSpec:
    """A node with one accelerator named after it."""
    accelerator = AcceleratorSpec(f"{name}-gpu", "sim", memory_bytes, slots=4)
    return NodeSpec(name, (accelerator,), 8 * GIB, 1e11, 1e11)


def fleet() -> Fleet:
    """Two clusters of one node each, two models that do not fit one accelerator together."""
    clusters = tuple(ClusterSpec(side, (node(f"{side}-node"),)) for side in ("left", "right"))
    models = {name: model(name) for name in ("writer", "critic")}
    return Fleet(clusters, models, NetworkSpec(delay_s=0.001), GpuBudget(2))


def sleeping_fleet() -> Fleet:
    """The left half of it alone, with engines that can sleep."""
    half = ClusterSpec("left", (replace(node("left-node"), engines_sleep=True),))
    return replace(fleet(), clusters=(half,), budget=GpuBudget(1))


def settings(
    folder: Path, listen: str = "127.0.0.1:0", of: Fleet | None = None, limit_s: float = QUICK_PLANS_S
) -> SchedulerSettings:
    """Settings of a quick scheduler on that fleet, or on another one; ``limit_s`` is its planner's."""
    the_fleet = of or fleet()
    return SchedulerSettings(
        listen=listen,
        store=folder / "store.sqlite",
        store_synchronous="normal",
        submit_queue=256,
        watcher_buffer=1000,
        limits=WorkflowLimits(),
        core=CoreConfig(
            fleet=the_fleet,
            slo_classes={name: SloClass(name, factor, 1.0) for name, factor in (("standard", 20.0), ("batch", 60.0))},
            default_slo_class="standard",
            reference_kind="sim",
            weights=ObjectiveWeights(),
            horizon_s=30.0,
            tick_s=0.05,
            max_snapshot_stages=200,
            min_plan_interval_s=0.1,
            drift=0.3,
            retry=RetryPolicy(3, 0.05),
            lease_ttl_s=5.0,
            tool_expected_s=1.0,
            reservation_quantile=ReservationQuantile.P95,
            prompts={name: PromptRules(SpecialTokens(), estimate_tokens) for name in the_fleet.models},
        ),
        planner=PlannerConfig(limit_s=limit_s, horizon_s=30.0, tick_s=0.05, max_exact_stages=60),
        predictor=PredictorConfig(prior=LengthForecast(60.0, 120.0, 160.0)),
    )


def call(stage_id: str, *after: str, models: tuple[str, ...] = ("writer",), max_tokens: int = 40) -> LlmStage:
    """An LLM stage that quotes everything it comes after."""
    quotes = " ".join(f"{{{{{before}.output}}}}" for before in after)
    content = f"Write about rivers. {quotes}"
    return LlmStage(
        stage_id, "writer", models, (ChatMessage("user", content),), max_tokens, tuple(after), sampling=Sampling(seed=1)
    )


def diamond(**changes: object) -> WorkflowSpec:
    """Two branches between a first and a last stage, over both models."""
    stages = (
        call("first"),
        call("left", "first", models=("critic",)),
        call("right", "first"),
        call("last", "left", "right", models=("critic",)),
    )
    return replace(WorkflowSpec(app="essays", stages=stages), **changes)  # type: ignore[arg-type]


async def producing(client: AsyncClient, workflow_id: str, stage_id: str) -> None:
    """Waits until a stage's tokens come. One that is told to run may not have reached its node yet."""
    async for event in client.watch(workflow_id, tokens=True):
        if isinstance(event, StageTokens) and event.stage_id == stage_id:
            return
    raise AssertionError(f"{workflow_id} ended, and no token of {stage_id} was seen")


async def until(claim: Callable[[], object]) -> None:
    """Waits for something to come true."""
    async with asyncio.timeout(PATIENCE_S):
        while not claim():
            await asyncio.sleep(0.005)


def _slowed(model: ModelSpec) -> ModelSpec:
    """The model on engines that dawdle."""
    speeds = {kind: replace(speed, decode_tokens_per_s=DAWDLING_TOKENS_PER_S) for kind, speed in model.speeds.items()}
    return replace(model, speeds=speeds)


@dataclass
class World:
    """A running Maestro. ``stop_node`` and ``restart_scheduler`` are what can go wrong with it."""

    folder: Path
    scheduler: Scheduler
    address: str
    client: AsyncClient
    fleet: Fleet
    limit_s: float = QUICK_PLANS_S
    nodes: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    stops: dict[str, asyncio.Event] = field(default_factory=dict)
    serving: asyncio.Task[None] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def start_node(self, name: str, *, dawdling: bool = False) -> None:
        """Starts a node's agent with a simulated engine. One that is ``dawdling`` ends no long stage within a test."""
        spec, models = next(n for c in self.fleet.clusters for n in c.nodes if n.name == name), self.fleet.models
        engine = EngineSettings(
            EngineKind.SIMULATED,
            Path("/nonexistent"),
            self.folder / name,
            self.folder / "logs",
            enable_sleep=spec.engines_sleep,
        )
        config = NodeConfig(
            cluster=name.removesuffix("-node"),
            node=spec,
            models={key: _slowed(model) for key, model in models.items()} if dawdling else models,
            sources={},
            engine=engine,
            scheduler_address=self.address,
        )
        self.stops[name] = asyncio.Event()
        self.nodes[name] = asyncio.create_task(serve_node(config, self.stops[name]))

    async def stop_node(self, name: str) -> None:
        """Ends a node's agent in an orderly way; the scheduler only notices that it is gone."""
        self.stops.pop(name).set()
        await self.nodes.pop(name)

    async def stop_scheduler(self) -> None:
        """Ends the scheduler; nodes and what runs on them go on."""
        self.stop.set()
        if self.serving is not None:
            await self.serving

    async def restart_scheduler(self) -> None:
        """Starts another scheduler on the same store and address."""
        self.stop = asyncio.Event()
        self.scheduler = Scheduler(settings(self.folder, self.address, self.fleet, self.limit_s), self.stop)
        self.serving = asyncio.create_task(self.scheduler.run())
        await self.scheduler.wait_listening()


@asynccontextmanager
async def world(
    folder: Path, nodes: Mapping[str, bool] | None = None, of: Fleet | None = None, limit_s: float = QUICK_PLANS_S
) -> AsyncIterator[World]:
    """A Maestro with all nodes of its fleet, or with those whose name is mapped to True; ``limit_s``: its planner's."""
    stop = asyncio.Event()
    the_fleet = of or fleet()
    scheduler = Scheduler(settings(folder, of=the_fleet, limit_s=limit_s), stop)
    serving = asyncio.create_task(scheduler.run())
    address = await scheduler.wait_listening()
    async with AsyncClient(address) as client:
        running = World(folder, scheduler, address, client, the_fleet, limit_s, serving=serving, stop=stop)
        everything = {item.name: True for cluster in the_fleet.clusters for item in cluster.nodes}
        for name, wanted in (nodes or everything).items():
            if wanted:
                await running.start_node(name)
        try:
            yield running
        finally:
            for name in list(running.nodes):
                await running.stop_node(name)
            await running.stop_scheduler()
