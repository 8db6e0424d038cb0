"""Taking workflows on: validation, idempotency keys, and a bound on how many may wait to be committed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from uuid import UUID
from weakref import WeakValueDictionary

from maestro.codec import workflow_from_proto
from maestro.codec.workflow import DEFAULT_TENANT
from maestro.errors import ConflictError, MaestroError, OverloadedError
from maestro.v1 import workflow_pb2
from maestro.validation import WorkflowLimits, validate
from maestro_services.scheduler.core.events import WorkflowSubmitted
from maestro_services.scheduler.core.prompts import has_long_prompts
from maestro_services.scheduler.loop import SchedulerLoop
from maestro_services.scheduler.store import Store

LARGE_PAYLOAD_BYTES = 256 * 1024
LONG_PROMPTS_AT_ONCE = 1
"""So that a flood of them leaves processors and threads to everything else."""

Key = tuple[str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The id under which a workflow was taken on; ``again`` where that had happened before."""

    workflow_id: str
    again: bool


class Submissions:
    """Accepts workflows durably, each idempotency key once."""

    def __init__(
        self,
        loop: SchedulerLoop,
        store: Store,
        *,
        limits: WorkflowLimits,
        models: Collection[str],
        slo_classes: Collection[str],
        queue: int,
    ) -> None:
        """``queue`` bounds the submissions under way."""
        self._loop = loop
        self._store = store
        self._limits = limits
        self._models = models
        self._slo_classes = slo_classes
        self._queue = queue
        self._random = Random()  # noqa: S311 - ids have to be unique, not secret
        self._under_way: set[asyncio.Task[Accepted]] = set()
        self._counting = asyncio.Semaphore(LONG_PROMPTS_AT_ONCE)
        self._keys: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    async def accept(self, message: workflow_pb2.Workflow) -> Accepted:
        """Returns once the workflow is durable. A caller that stops waiting takes nothing back: the submission goes on.

        Raises InvalidInputError, ConflictError for a key that was used with another payload, and OverloadedError
        where the queue is full. A submission has its place in the queue until it is durable or refused, whether or
        not its caller still waits.
        """
        if len(self._under_way) >= self._queue:
            raise OverloadedError(
                f"{len(self._under_way)} submissions are waiting to be committed, which is the most this scheduler "
                "takes (scheduler.submit_queue); send it again in a moment"
            )
        submission = asyncio.create_task(self._accept(message))
        self._under_way.add(submission)
        submission.add_done_callback(self._leave)
        return await asyncio.shield(submission)

    def _leave(self, submission: asyncio.Task[Accepted]) -> None:
        """Frees the place. The error is seen to here, since nobody may be left who waits for it."""
        self._under_way.discard(submission)
        error = None if submission.cancelled() else submission.exception()
        if error is not None and not isinstance(error, MaestroError):
            log.error("a submission failed", exc_info=error)

    async def _accept(self, message: workflow_pb2.Workflow) -> Accepted:
        if message.idempotency_key:
            return await self._accept_once(message)
        event = await self._event(message)
        await self._loop.post_durably(event)
        return Accepted(event.workflow_id, again=False)

    async def _event(self, message: workflow_pb2.Workflow) -> WorkflowSubmitted:
        """Decodes, validates and counts; what is large in a thread, so that it costs nobody else anything."""
        payload = message.SerializeToString(deterministic=True)
        if len(payload) > LARGE_PAYLOAD_BYTES:
            event = await asyncio.to_thread(self._decode, message, payload)
        else:
            event = self._decode(message, payload)
        if has_long_prompts(event.spec):
            async with self._counting:
                await asyncio.to_thread(self._loop.core.count_ahead, event.spec)
        return event

    def _decode(self, message: workflow_pb2.Workflow, payload: bytes) -> WorkflowSubmitted:
        spec = workflow_from_proto(message)
        validate(spec, limits=self._limits, models=self._models, slo_classes=self._slo_classes, now=datetime.now(UTC))
        payload_hash = hashlib.sha256(payload).hexdigest() if spec.idempotency_key else ""
        return WorkflowSubmitted(self._new_id(), spec, payload, payload_hash)

    def _new_id(self) -> str:
        """A random id. The generator is seeded by the system once: asking it for every id would cost a system call."""
        return f"wf-{UUID(int=self._random.getrandbits(128), version=4).hex}"

    async def _accept_once(self, message: workflow_pb2.Workflow) -> Accepted:
        """The first submission of a key is accepted; the same one again gets its id.

        Those of one key go one after another, in the order in which they came: each finds in the store what the one
        before has made durable, and a small one does not overtake a large one.
        """
        key = (message.tenant or DEFAULT_TENANT, message.idempotency_key)
        async with self._keys.setdefault(key, asyncio.Lock()):
            event = await self._event(message)
            known = await asyncio.to_thread(self._store.by_key, *key)
            if known is None:
                await self._loop.post_durably(event)
                return Accepted(event.workflow_id, again=False)
        return _again(key, event, *known)


def _again(key: Key, event: WorkflowSubmitted, workflow_id: str, payload_hash: str) -> Accepted:
    """The answer to a key that was seen before."""
    if payload_hash != event.payload_hash:
        raise ConflictError(
            f'idempotency_key: "{key[1]}" of tenant "{key[0]}" was used for workflow {workflow_id} with another '
            "payload; use a new key for a new workflow"
        )
    return Accepted(workflow_id, again=True)
