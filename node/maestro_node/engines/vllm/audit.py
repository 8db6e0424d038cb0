"""Looks at a node's engines from outside the agent: what they really hold, against what the ledger thinks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from maestro_node.engines.interface import EngineError, EngineUsage
from maestro_node.engines.process_tree import members_of
from maestro_node.engines.replica_records import ReplicaRecord, read_records
from maestro_node.engines.vllm.client import VllmClient


@dataclass(frozen=True, slots=True)
class ReplicaSample:
    """One replica at one moment.

    ``resident_bytes`` adds up what its processes have resident (pages they share count for each of them),
    ``proportional_bytes`` splits shared pages among all that map them. ``usage`` is None where the engine does not
    answer, which it does not while it loads.
    """

    accelerator: str
    model: str
    generation: int
    kv_pool_bytes: int
    processes: int
    resident_bytes: int
    proportional_bytes: int
    usage: EngineUsage | None


async def sample_replicas(runtime_dir: Path) -> tuple[ReplicaSample, ...]:
    """Sample every replica recorded in a node agent's runtime folder; needs the agent's user, not its cooperation."""
    return tuple([await _sample(record) for record in read_records(runtime_dir)])


async def _sample(record: ReplicaRecord) -> ReplicaSample:
    processes = resident_bytes = proportional_bytes = 0
    for member in members_of(record):
        with suppress(psutil.NoSuchProcess):
            memory = psutil.Process(member.pid).memory_full_info()
            processes += 1
            resident_bytes += memory.rss
            proportional_bytes += memory.pss
    return ReplicaSample(
        accelerator=record.accelerator,
        model=record.model,
        generation=record.generation,
        kv_pool_bytes=record.kv_pool_bytes,
        processes=processes,
        resident_bytes=resident_bytes,
        proportional_bytes=proportional_bytes,
        usage=await _usage(record.socket),
    )


async def _usage(socket: Path) -> EngineUsage | None:
    client = VllmClient(socket, served_name="")
    try:
        return await client.usage()
    except EngineError:
        return None
    finally:
        await client.close()
