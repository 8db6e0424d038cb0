"""Durable submissions per second on loopback, beside a bare gRPC + SQLite echo in the same run.

    python benchmarks/first_light/submissions.py [--workflows 4000] [--in-flight 128] [--rounds 3] [--json]

Workflows have 6 stages and 4 KB of text; a submission counts when the server has answered, that is, when it would
survive a power failure. The echo answers when the same bytes are one row of a SQLite table, committed in groups with
synchronous=FULL: what gRPC and SQLite alone allow on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc

from maestro.codec import workflow_to_proto
from maestro.v1 import scheduler_pb2, scheduler_pb2_grpc
from maestro.workflow import ChatMessage, LlmStage, WorkflowSpec

HERE = Path(__file__).parent
STAGES, TEXT_BYTES = 6, 4096


def workflow() -> WorkflowSpec:
    """A fan-out of four between a first and a last stage, 4 KB of text in all."""
    text = "Summarise what the river towns traded in the dry season. " * (TEXT_BYTES // STAGES // 57)
    middle = [f"part{number}" for number in range(STAGES - 2)]

    def stage(name: str, after: tuple[str, ...]) -> LlmStage:
        quotes = " ".join(f"{{{{{before}.output}}}}" for before in after)
        return LlmStage(name, "writer", ("smollm2-writer",), (ChatMessage("user", f"{text} {quotes}"),), 64, after)

    stages = (stage("plan", ()), *(stage(name, ("plan",)) for name in middle), stage("merge", tuple(middle)))
    return WorkflowSpec(app="benchmark", stages=stages)


async def rate(address: str, workflows: int, in_flight: int) -> float:
    """Submissions per second with ``in_flight`` under way all the time."""
    request = scheduler_pb2.SubmitWorkflowRequest(workflow=workflow_to_proto(workflow()))
    left = iter(range(workflows))
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)

        async def client() -> None:
            for _ in left:
                await stub.SubmitWorkflow(request)

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(in_flight)))
        return workflows / (time.perf_counter() - started)


class Server:
    """A server in a process of its own; the last word of its first line is its address."""

    def __init__(self, script: str, folder: Path) -> None:
        """Starts it on a store in ``folder``."""
        command = [sys.executable, str(HERE / script), str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().split()[-1]

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()


def measure(script: str, workflows: int, in_flight: int) -> float:
    """One round against a fresh server and an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(script, Path(folder))
        try:
            asyncio.run(rate(server.address, in_flight * 2, in_flight))
            return asyncio.run(rate(server.address, workflows, in_flight))
        finally:
            server.stop()


def main() -> None:
    """Rounds in turn, so that both see the same machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=4000)
    parser.add_argument("--in-flight", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"maestro": [], "echo": []}
    for _ in range(options.rounds):
        rates["maestro"].append(measure("scheduler_process.py", options.workflows, options.in_flight))
        rates["echo"].append(measure("echo_process.py", options.workflows, options.in_flight))
    ratio = statistics.median(a / b for a, b in zip(rates["maestro"], rates["echo"], strict=True))
    if options.json:
        print(json.dumps({"submissions_per_s": rates, "ratio_to_echo": ratio}))
        return
    print(f"{options.workflows} workflows of {STAGES} stages and {TEXT_BYTES} bytes, {options.in_flight} in flight")
    for name, found in rates.items():
        print(f"{name:8} {statistics.median(found):7.0f}/s  (min {min(found):.0f}, max {max(found):.0f})")
    print(f"maestro / echo {ratio:.2f}")


if __name__ == "__main__":
    main()
