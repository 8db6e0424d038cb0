"""What happened in a run, event by event, as JSON lines: for pictures of it, and for looking into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from maestro.errors import InvalidInputError
from maestro.fleet import Fleet
from maestro.status import StageStatus, WorkflowStatus
from maestro_node.core.replica import Replica
from maestro_services.scheduler.core.outcome import StageChanged


class Recorder:
    """Writes an object a line, each with its ``event``; instants (``..._s``) are virtual seconds, sizes are bytes.

    - ``run``: ``seed``, ``policy``. The first line.
    - ``accelerator``: ``name``, ``node``, ``cluster``, ``kind``, ``memory_bytes``. One for each, before all else.
    - ``attempt``, when it ends: ``workflow``, ``stage``, ``attempt`` (its number), ``role``, ``model``,
      ``accelerator`` (both empty for a tool), ``ready_s``, ``start_s`` (null: never started), ``first_token_s`` (null:
      not succeeded), ``end_s``, ``state`` (``succeeded``, ``failed``, ``cancelled``, or ``voided``: tried again),
      ``prompt_tokens``, ``output_tokens``.
    - ``workflow``, when it ends: ``workflow``, ``app``, ``slo_class``, ``arrival_s``, ``deadline_s``, ``end_s``,
      ``state``. Those that have not ended when the run does have no line.
    - ``memory``, with every change: ``at_s``, ``accelerator``, and its ``replicas``, each with ``model``, ``phase``,
      ``fixed_bytes`` (weights and overhead), ``pool_bytes`` (0: elastic), ``reserved_bytes``, ``used_bytes``; of one
      that takes several accelerators, its share of this one.
    - ``plan``, when one comes into force: ``at_s``, ``source``.
    - ``fault``: ``at_s``, ``node``, ``accelerator`` (empty: the whole node).
    """

    def __init__(self, sink: TextIO) -> None:
        """``sink`` is written to only; whoever opened it closes it."""
        self._sink = sink

    def run(self, seed: int, policy: str, fleet: Fleet) -> None:
        """A run begins."""
        self._write(event="run", seed=seed, policy=policy)
        for cluster in fleet.clusters:
            for node in cluster.nodes:
                for spec in node.accelerators:
                    self._write(
                        event="accelerator",
                        name=spec.name,
                        node=node.name,
                        cluster=cluster.name,
                        kind=spec.kind,
                        memory_bytes=spec.memory_bytes,
                    )

    def stage(self, change: StageChanged) -> None:
        """A stage has changed; written where that is the end of an attempt, or of a stage without any."""
        status = change.status
        if change.voided_attempt:
            self._attempt(change.workflow_id, status, "voided", change.at_s)
        elif status.ended_at_s is not None:
            self._attempt(change.workflow_id, status, str(status.state), status.ended_at_s)

    def workflow(self, status: WorkflowStatus, at_s: float) -> None:
        """A workflow has ended."""
        self._write(
            event="workflow",
            workflow=status.id,
            app=status.app,
            slo_class=status.slo_class,
            arrival_s=status.accepted_at_s,
            deadline_s=status.deadline_at_s,
            end_s=at_s,
            state=str(status.state),
        )

    def memory(self, at_s: float, accelerator: str, replicas: Iterable[tuple[Replica, float]]) -> None:
        """What an accelerator's memory is taken by, with the KV bytes that each whole replica really uses."""
        self._write(
            event="memory",
            at_s=at_s,
            accelerator=accelerator,
            replicas=[
                {
                    "model": replica.model.name,
                    "phase": str(replica.phase),
                    "fixed_bytes": replica.model.resident_share_bytes() if replica.on_device else 0,
                    "pool_bytes": replica.model.share_bytes(replica.kv_pool_bytes) if replica.on_device else 0,
                    "reserved_bytes": replica.model.share_bytes(replica.reserved_bytes),
                    "used_bytes": round(used_bytes / replica.model.tensor_parallel_size),
                }
                for replica, used_bytes in replicas
            ],
        )

    def plan(self, at_s: float, source: str) -> None:
        """A plan has come into force."""
        self._write(event="plan", at_s=at_s, source=source)

    def fault(self, at_s: float, node: str, accelerator: str) -> None:
        """An engine of an accelerator has died, or the whole node where none is named."""
        self._write(event="fault", at_s=at_s, node=node, accelerator=accelerator)

    def _attempt(self, workflow_id: str, status: StageStatus, state: str, end_s: float) -> None:
        usage = status.usage
        self._write(
            event="attempt",
            workflow=workflow_id,
            stage=status.id,
            attempt=status.attempts,
            role=status.role,
            model=status.model,
            accelerator=status.accelerator,
            ready_s=status.ready_at_s,
            start_s=status.started_at_s,
            first_token_s=status.first_token_at_s,
            end_s=end_s,
            state=state,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            output_tokens=usage.completion_tokens if usage else 0,
        )

    def _write(self, **line: object) -> None:
        self._sink.write(json.dumps(line, separators=(",", ":")))
        self._sink.write("\n")


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """A recorder into a file, which is replaced; raises InvalidInputError where it cannot be written."""
    try:
        with path.open("w", encoding="utf-8") as sink:
            yield Recorder(sink)
    except OSError as error:
        raise InvalidInputError(
            "record", f"cannot be written: {error.strerror}", value=str(path), remedy="give a file on a disk with room"
        ) from error
