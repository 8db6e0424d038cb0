"""What scheduling adds to a stage, on two real vLLM engines of this machine.

    python benchmarks/first_light/overhead.py [--stages 500] [--in-flight 4] [--nice N] [--json]

Overhead of a stage = (command sent - stage ready) + (result visible to a watcher - last byte from the engine). Four
workflows are in flight, each a chain that alternates between two models and so between the two engines; there is
always a free place in the batch, so a stage's place is free when the stage is ready. All instants are of the machine's
monotonic clock: 'ready' comes from the stage's status, 'sent' and 'last byte' from the scheduler's timing log, and
'visible' is when a watcher in another process has the result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from maestro.client import AsyncClient
from maestro.events import StageChanged
from maestro.status import StageState, StageStatus
from maestro.workflow import ChatMessage, LlmStage, Sampling, WorkflowSpec

ROOT = Path(__file__).parents[2]
STAGES_PER_WORKFLOW = 5
OUTPUT_TOKENS = 12
ENGINE_START_S = 240.0
MODELS = ("smollm2-writer", "smollm2-critic")


@dataclass(frozen=True)
class Finished:
    """A stage's final status, and when a watcher had it (monotonic seconds)."""

    status: StageStatus
    visible_s: float


def chain(length: int, first: int) -> WorkflowSpec:
    """Stages one after the other, on the two models in turn, each of a fixed output length."""
    sampling = Sampling(temperature=0.0, min_tokens=OUTPUT_TOKENS, ignore_eos=True)
    stages = [
        LlmStage(
            f"s{number}",
            "writer",
            (MODELS[(first + number) % 2],),
            (ChatMessage("user", f"Name a river town. {{{{s{number - 1}.output}}}}" if number else "Name a river."),),
            OUTPUT_TOKENS,
            (f"s{number - 1}",) if number else (),
            sampling=sampling,
        )
        for number in range(length)
    ]
    return WorkflowSpec(app="benchmark", slo_class="batch", stages=tuple(stages))


async def run(client: AsyncClient, spec: WorkflowSpec) -> list[Finished]:
    """Submits a workflow and notes when each stage's result is visible."""
    finished = [
        Finished(event.status, time.monotonic())
        async for event in client.watch(await client.submit(spec))
        if isinstance(event, StageChanged) and event.status.state.final
    ]
    bad = [f.status for f in finished if f.status.state is not StageState.SUCCEEDED]
    if bad:
        raise RuntimeError(f"a stage did not succeed: {bad[0]}")
    return finished


async def measure(address: str, stages: int, in_flight: int) -> list[Finished]:
    """Warms both engines up, then keeps ``in_flight`` chains going."""
    async with AsyncClient(address) as client:
        async with asyncio.timeout(ENGINE_START_S):
            await asyncio.gather(run(client, chain(2, 0)), run(client, chain(2, 1)))
        left = iter(range(stages // STAGES_PER_WORKFLOW))

        async def worker() -> list[Finished]:
            return [f for number in left for f in await run(client, chain(STAGES_PER_WORKFLOW, number))]

        return [f for found in await asyncio.gather(*(worker() for _ in range(in_flight))) for f in found]


def write_scenario(folder: Path, nice: int) -> Path:
    """The laptop scenario on ports and files of its own, with another niceness of its engines."""
    yaml = YAML()
    scenario = yaml.load(ROOT / "scenarios" / "laptop.yaml")
    scenario["scheduler"] |= {"listen": "127.0.0.1:50150", "store": str(folder / "store.sqlite")}
    scenario["engine"] |= {"log_dir": str(folder / "logs"), "python": str(ROOT / ".venv-vllm/bin/python"), "nice": nice}
    for number, cluster in enumerate(scenario["fleet"]["clusters"]):
        cluster["nodes"][0]["listen"] = f"127.0.0.1:{50161 + number}"
    for model in scenario["models"]:
        model["path"] = str(ROOT / ".models/smollm2-135m-instruct")
    yaml.dump(scenario, folder / "scenario.yaml")
    return folder / "scenario.yaml"


def overheads(finished: list[Finished], timings: Path) -> np.ndarray:
    """Rows of (before, after, total) in milliseconds, one for each stage."""
    offset_s, sent, last_byte = 0.0, {}, {}
    for line in timings.read_text().splitlines():
        name, what, value = line.rsplit(maxsplit=2)
        if what == "offset":
            offset_s = float(value)
        else:
            {"sent": sent, "last_byte": last_byte}[what][name] = float(value)
    rows = []
    for stage in finished:
        ready_s = (stage.status.ready_at_s or 0.0) - offset_s
        before = sent[stage.status.attempt_id] - ready_s
        after = stage.visible_s - last_byte[stage.status.attempt_id]
        rows.append((before * 1e3, after * 1e3, (before + after) * 1e3))
    return np.array(rows)


def start(folder: Path, scenario: Path) -> tuple[list[subprocess.Popen[str]], str]:
    """Scheduler and nodes, each a process; returns them and the scheduler's address."""
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder)}
    script = Path(__file__).parent / "timed_scheduler_process.py"
    scheduler = subprocess.Popen(
        [sys.executable, str(script), str(scenario), str(folder / "timings.log")], stdout=subprocess.PIPE, text=True
    )
    assert scheduler.stdout is not None
    address = scheduler.stdout.readline().split()[-1]
    nodes = [
        subprocess.Popen(
            [*(sys.executable, "-m", "maestro_services.cli", "node"), "--scenario", str(scenario), "--name", name],
            stderr=(folder / f"{name}.log").open("w"),
            env=environment,
            text=True,
        )
        for name in ("left-node", "right-node")
    ]
    return [*nodes, scheduler], address


def main() -> None:
    """Runs everything and prints the distribution."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--nice", type=int, default=19, help="of the engines; what a machine of its own bears")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        folder = Path(name)
        processes, address = start(folder, write_scenario(folder, options.nice))
        try:
            finished = asyncio.run(measure(address, options.stages, options.in_flight))
            rows = overheads(finished, folder / "timings.log")
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
    figures = {
        name: {f"p{q}": float(np.percentile(rows[:, column], q)) for q in (50, 90, 99)}
        for column, name in enumerate(("ready_to_sent_ms", "last_byte_to_visible_ms", "overhead_ms"))
    }
    if options.json:
        print(json.dumps({"stages": len(rows), "in_flight": options.in_flight, **figures}))
        return
    print(f"{len(rows)} stages, {options.in_flight} in flight, two real engines")
    for name, found in figures.items():
        print(f"{name:24} " + "  ".join(f"{q} {value:6.2f} ms" for q, value in found.items()))


if __name__ == "__main__":
    main()
