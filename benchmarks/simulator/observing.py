"""Runs a workload on real engines and records it."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.simulator.run_folder import Load, Observation, RunFolder
from benchmarks.simulator.workload import TimedWorkflow, warm_up, workload
from maestro.client import AsyncClient
from maestro.errors import MaestroError
from maestro.snapshot import ReplicaPhase
from maestro.status import WorkflowState
from maestro_services.cli.demo_process import running_up
from maestro_services.cli.fleet_client import list_nodes
from maestro_services.cli.trace_recording import record

WARM_UPS = 3
"""Calls that each model answers before the workload begins."""

SETTLE_S = 3.0
"""Pause after the warm-up."""

LOAD_LIMIT_S = 300.0
POLL_S = 1.0

Show = Callable[[str, int], None]
"""Told what is going on, and how many workflows have ended."""


class ObservationFailedError(MaestroError):
    """A workflow of the workload did not succeed, so that the run shows nothing."""


async def observe(run: RunFolder, workflows: int, rate_per_s: float, seed: int, show: Show) -> Observation:
    """Start Maestro, run the workload, stop it, and leave trace and observation in ``run``.

    Raises ObservationFailedError where a workflow does not succeed.
    """
    scenario = run.scenario()
    models = tuple(model.name for model in scenario.models)
    show("starting engines", 0)
    async with running_up(run.scenario_file) as up, AsyncClient(up.scheduler) as client:
        for number in range(WARM_UPS):
            ids = [await client.submit(warm_up(model, number)) for model in models]
            await asyncio.gather(*(client.result(name, timeout_s=LOAD_LIMIT_S) for name in ids))
        loads = await _loads(up.scheduler)
        await asyncio.sleep(SETTLE_S)
        await _run(client, list(workload(models, workflows, rate_per_s, seed)), show)
    for _ in record(scenario.scheduler.store, run.recording_file, texts=False):
        pass
    run.keep_trace()
    date = datetime.now(UTC).isoformat(timespec="minutes")
    observation = Observation(seed, workflows, rate_per_s, date, f"{platform.machine()}, {_processor()}", loads)
    run.write_observation(observation)
    return observation


async def _run(client: AsyncClient, timed: Sequence[TimedWorkflow], show: Show) -> None:
    """Submit each workflow at its instant, and wait until all have ended."""
    submitting = asyncio.create_task(_submit(client, timed))
    while True:
        submitted = submitting.done()
        active = [workflow.id async for workflow in client.list(state=WorkflowState.ACTIVE)]
        ended = [workflow async for workflow in client.list(state=WorkflowState.SUCCEEDED)] if submitted else []
        show("running the workload", len(ended))
        if submitted and not active:
            break
        await asyncio.sleep(POLL_S)
    await submitting
    failed = [workflow.id async for workflow in client.list(state=WorkflowState.FAILED)]
    if failed:
        raise ObservationFailedError(f"{len(failed)} workflows failed, the first is {failed[-1]}")


async def _submit(client: AsyncClient, timed: Sequence[TimedWorkflow]) -> None:
    began_s = time.monotonic()
    for workflow in timed:
        await asyncio.sleep(max(0.0, began_s + workflow.at_s - time.monotonic()))
        await client.submit(workflow.spec)


async def _loads(scheduler: str) -> tuple[Load, ...]:
    """How long the replicas took that are ready now."""
    return tuple(
        Load(replica.model, accelerator.name, replica.load_s)
        for node in await list_nodes(scheduler)
        for accelerator in node.accelerators
        for replica in accelerator.replicas
        if replica.phase is ReplicaPhase.READY
    )


def _processor() -> str:
    """The processor's name as Linux tells it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as info:
            return next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
