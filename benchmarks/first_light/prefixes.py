"""What prefix reuse saves, and whether stages go where it does, on two real vLLM engines that serve one model.

    python benchmarks/first_light/prefixes.py [--conversations 20] [--in-flight 1] [--json]

A conversation is a question with a long preamble; when it is answered, two stages follow: one goes on with the same
messages, the other has a prompt as long that begins in another way. Printed is how long each kind of stage waited for
its first token once its engine had it, and how many of those that go on ran on the replica of the question. With more
than one conversation in flight both kinds of stages meet on an engine, which reads their prompts one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired

from overhead import ENGINE_START_S, start, write_scenario
from ruamel.yaml import YAML

from maestro.client import AsyncClient
from maestro.status import StageStatus, WorkflowStatus
from maestro.workflow import ChatMessage, LlmStage, Sampling, WorkflowSpec

MODEL = "smollm2-writer"
OUTPUT_TOKENS = 8
PREAMBLE = "The river has many towns on its banks, and every town has a mill. " * 60


def conversation(number: int) -> WorkflowSpec:
    """A question, what follows it, and what only looks as if it did."""
    question = (ChatMessage("system", f"Story {number}. {PREAMBLE}"), ChatMessage("user", "Name a town."))
    other = (ChatMessage("system", f"Other {number}. {PREAMBLE}"), *question[1:])
    answer = (ChatMessage("assistant", "{{ask.output}}"), ChatMessage("user", "Name another one."))
    stages = (_stage("ask", question), _stage("again", question + answer), _stage("other", other + answer))
    return WorkflowSpec(app="benchmark", slo_class="batch", stages=stages)


def _stage(name: str, messages: tuple[ChatMessage, ...]) -> LlmStage:
    sampling = Sampling(temperature=0.0, min_tokens=OUTPUT_TOKENS, ignore_eos=True)
    after = () if name == "ask" else ("ask",)
    return LlmStage(name, "writer", (MODEL,), messages, OUTPUT_TOKENS, after, sampling=sampling)


async def measure(address: str, conversations: int, in_flight: int) -> list[WorkflowStatus]:
    """Warms the engines up, then keeps ``in_flight`` conversations going."""
    async with AsyncClient(address) as client:
        async with asyncio.timeout(ENGINE_START_S):
            await asyncio.gather(*(_run(client, -1 - number) for number in range(4)))
        left = iter(range(conversations))

        async def worker() -> list[WorkflowStatus]:
            return [await _run(client, number) for number in left]

        return [status for found in await asyncio.gather(*(worker() for _ in range(in_flight))) for status in found]


async def _run(client: AsyncClient, number: int) -> WorkflowStatus:
    return (await client.result(await client.submit(conversation(number)))).status


def one_model_on_both(scenario: Path) -> Path:
    """The scenario with one model alone, which never leaves its two accelerators."""
    yaml = YAML()
    values = yaml.load(scenario)
    [writer] = [model for model in values["models"] if model["name"] == MODEL]
    writer["pinned_on"] = ["left-cpu", "right-cpu"]
    values["models"] = [writer]
    values.pop("workload", None)
    yaml.dump(values, scenario)
    return scenario


def first_token_s(stage: StageStatus) -> float:
    """Seconds from a stage's start to its first token."""
    return (stage.first_token_at_s or 0.0) - (stage.started_at_s or 0.0)


def figures(found: list[WorkflowStatus]) -> dict[str, float]:
    """Medians, and the share of conversations that went on at their replica."""
    stages = [{stage.id: stage for stage in status.stages} for status in found]
    medians = {
        f"first_token_{name}_s": statistics.median(first_token_s(each[name]) for each in stages)
        for name in ("ask", "again", "other")
    }
    stayed = [each["again"].accelerator == each["ask"].accelerator for each in stages]
    return {"conversations": len(stages), **medians, "went_on_at_its_replica": statistics.mean(stayed)}


def main() -> None:
    """Runs everything and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        folder = Path(name)
        processes, address = start(folder, one_model_on_both(write_scenario(folder, nice=10)))
        try:
            measured = figures(asyncio.run(measure(address, options.conversations, options.in_flight)))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                with suppress(TimeoutExpired):
                    process.wait(60)
    if options.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:24} {value:8.2f}")


if __name__ == "__main__":
    main()
