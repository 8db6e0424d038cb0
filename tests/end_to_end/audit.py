"""What the auditor saw, and what must be true of it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maestro.fleet import ModelSpec
from maestro.status import StageStatus


@dataclass(frozen=True)
class Load:
    """One life of a replica: it began after the instant ``after_s`` and was there at ``seen_s`` (Unix epoch)."""

    accelerator: str
    model: str
    generation: int
    after_s: float
    seen_s: float


class Audit:
    """The lines of one audit."""

    def __init__(self, path: Path) -> None:
        """Reads what was written; a line that was cut off by the auditor's end is left out."""
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        self.engines = [line for line in lines if line["kind"] == "engine"]
        self.replicas = [line for line in lines if line["kind"] == "replica"]

    def loads(self) -> list[Load]:
        """Every load that the nodes began."""
        instants = sorted({line["at_s"] for line in self.replicas})
        before = dict(zip(instants, [0.0, *instants], strict=False))
        found: dict[tuple[str, str, int], Load] = {}
        for line in self.replicas:
            life = (line["accelerator"], line["model"], line["generation"])
            found.setdefault(life, Load(*life, before[line["at_s"]], line["at_s"]))
        return list(found.values())

    def most_held_bytes(self) -> int:
        """The most that the engines of one node held at once in memory."""
        held: dict[tuple[str, int], int] = defaultdict(int)
        for line in self.engines:
            held[line["node"], line["sample"]] += line["resident_bytes"]
        return max(held.values())

    def over_reserved(self, model: ModelSpec, block_tokens: int, outgrown_tokens: int) -> list[dict[str, Any]]:
        """Samples in which a model's engines held more KV than was reserved for what ran on them.

        vLLM hands KV out in blocks of ``block_tokens``: up to one more for every running request. What stages have
        generated beyond their reservation, which is a quantile of the predicted length, is allowed for.
        """
        found = []
        block_bytes = block_tokens * model.kv_bytes_per_token
        for line in self.engines:
            if line["model"] == model.name and line["kv_usage"] is not None and line["kv_pool_bytes"]:
                blocks = line["kv_pool_bytes"] // block_bytes - 1  # vLLM keeps one to itself and counts the others
                held_bytes = round(line["kv_usage"] * blocks) * block_bytes
                allowed_bytes = outgrown_tokens * model.kv_bytes_per_token + line["running"] * block_bytes
                if held_bytes > line["kv_reserved_bytes"] + allowed_bytes:
                    found.append(line)
        return found


def outgrown_tokens(stage: StageStatus) -> int:
    """How many tokens of prompt and output a stage took beyond what was reserved for it."""
    if stage.usage is None:
        return 0
    return max(0, stage.usage.prompt_tokens + stage.usage.completion_tokens - stage.kv_reserved_tokens)
