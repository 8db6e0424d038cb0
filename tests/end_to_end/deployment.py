"""A deployment of its own for a test: the laptop scenario on free ports, with three models on two accelerators."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from plan_record import PlanRecord
from ruamel.yaml import YAML

from maestro.client import AsyncClient
from maestro.scenario import load

ROOT = Path(__file__).parents[2]
AUDITOR = Path(__file__).parent / "engine_auditor.py"
READY_TIMEOUT_S = 240.0


def free_address() -> str:
    """A loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def write_scenario(folder: Path, decides: str) -> Path:
    """The shipped laptop scenario with free ports, its files in ``folder``, and a third model.

    Each accelerator holds one replica, so that the third model needs another to be evicted. ``decides`` is what plans
    decide.
    """
    yaml = YAML()
    scenario = yaml.load(ROOT / "scenarios" / "laptop.yaml")
    scenario["scheduler"]["listen"] = free_address()
    scenario["scheduler"]["store"] = str(folder / "store.sqlite")
    scenario["planner"]["decides"] = decides
    scenario["engine"]["log_dir"] = str(folder / "logs")
    scenario["engine"]["python"] = os.environ.get("MAESTRO_ENGINE_PYTHON", str(ROOT / ".venv-vllm/bin/python"))
    for cluster in scenario["fleet"]["clusters"]:
        for node in cluster["nodes"]:
            node["listen"] = free_address()
    model_folder = os.environ.get("MAESTRO_TEST_MODEL", str(ROOT / ".models/smollm2-135m-instruct"))
    judge = dict(scenario["models"][1]) | {"name": "smollm2-judge", "served_name": "smollm2-judge"}
    scenario["models"].append(judge)
    for model in scenario["models"]:
        model["path"] = model_folder
    scenario.pop("workload", None)
    path = folder / "scenario.yaml"
    yaml.dump(scenario, path)
    return path


@dataclass
class Deployment:
    """A running ``maestro up`` with an auditor beside it."""

    process: subprocess.Popen[str]
    scheduler: str
    client: AsyncClient
    audit: Path
    lives: list[PlanRecord] = field(default_factory=lambda: [PlanRecord(0.0)])

    def kill_scheduler(self) -> None:
        """Kills it with SIGKILL; ``maestro up`` starts another, whose plans are another life's."""
        self.scheduler_process().kill()
        self.lives.append(PlanRecord(time.time()))

    def scheduler_process(self) -> psutil.Process:
        """The process that ``maestro serve`` runs in."""
        return next(child for child in self.descendants() if "serve" in _words(child))

    def descendants(self) -> list[psutil.Process]:
        """Every process the deployment has."""
        return psutil.Process(self.process.pid).children(recursive=True)

    async def collect_plans(self) -> None:
        """Notes every plan that comes into force, until it is cancelled."""
        while True:
            try:
                report = await self.client.plan()
            except Exception:
                pass
            else:
                self.lives[-1].note(report)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def deployment(folder: Path, decides: str = "stages") -> AsyncIterator[Deployment]:
    """Starts everything and yields once both nodes have registered; stops it, and the auditor, in any case."""
    scenario = write_scenario(folder, decides)
    nodes = [node.listen for node in load(scenario).nodes.values()]
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime)}
    up = subprocess.Popen(
        [sys.executable, "-m", "maestro_services.cli", "up", str(scenario), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    audit = folder / "audit.jsonl"
    auditor = subprocess.Popen([sys.executable, str(AUDITOR), str(up.pid), str(audit), *nodes])
    try:
        ready = await asyncio.wait_for(asyncio.to_thread(_ready, up), READY_TIMEOUT_S)
        async with AsyncClient(ready["scheduler"]) as client:
            yield Deployment(up, ready["scheduler"], client, audit)
    finally:
        auditor.kill()
        auditor.wait()
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait(timeout=180)


def _words(process: psutil.Process) -> list[str]:
    """The command line of a process; empty where it has ended meanwhile, as some that engines start do at once."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def still_there(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended. One may be taken away by its parent at any moment, while it is looked at, too."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _ready(up: subprocess.Popen[str]) -> dict[str, str]:
    """The announcement that all nodes have registered."""
    assert up.stdout is not None
    for line in up.stdout:
        announcement: dict[str, str] = json.loads(line)
        if announcement["event"] == "ready":
            return announcement
    raise AssertionError("maestro up ended before it was ready")
