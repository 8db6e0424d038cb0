"""The narrow interface between a node and whatever runs its models.

An :class:`Engine` starts replicas; an :class:`EngineReplica` generates text. Every engine passes the conformance suite
in ``tests/node``. A request is aborted by closing its event iterator (or cancelling the task that reads it): the engine
then stops working on it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from maestro.errors import MaestroError
from maestro.fleet import AcceleratorSpec, ModelSpec
from maestro.reasons import Reason
from maestro.workflow import ChatMessage, Sampling


class FinishReason(StrEnum):
    """The only endings that are results."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


class EngineError(MaestroError):
    """A replica did not do what it was asked; ``retryable`` says that another attempt may succeed."""

    def __init__(self, reason: Reason, message: str, *, retryable: bool) -> None:
        """Keep the reason with the message."""
        self.reason = reason
        self.retryable = retryable
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine can do on this node; see GetCapabilitiesResponse."""

    name: str
    version: str
    kv_elastic: bool
    sleep: bool
    tensor_parallel: bool


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator, and its position on its node."""

    spec: AcceleratorSpec
    index: int


@dataclass(frozen=True, slots=True)
class ReplicaLaunch:
    """What a replica is started with.

    ``devices`` are the accelerators that it takes, one or, if the model is tensor-parallel, several; the first names
    the replica. ``kv_pool_bytes``, of all of them together, is 0 where KV is elastic.
    """

    devices: tuple[Device, ...]
    model: ModelSpec
    generation: int
    kv_pool_bytes: int

    @property
    def accelerator(self) -> AcceleratorSpec:
        """The accelerator that names the replica."""
        return self.devices[0].spec


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A chat completion. ``priority``: higher is more urgent, -100 to 100."""

    id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    max_tokens: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The engine took the request."""


@dataclass(frozen=True, slots=True)
class TextChunk:
    """New output; ``tokens`` is how many tokens it took, as far as the engine tells while it streams."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The request ended with a result; ``last_byte_s`` is the engine's monotonic clock at its last byte."""

    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    last_byte_s: float


EngineEvent = Accepted | TextChunk | Finished


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """What an engine says of itself: the used share of its KV pool (0 to 1), and its requests."""

    kv_used_fraction: float
    running_requests: int
    waiting_requests: int


class EngineReplica(Protocol):
    """A started engine. Methods may be called from one event loop only."""

    async def wait_ready(self) -> None:
        """Return once it serves; EngineError (LOAD_FAILED) where it ended or took too long."""
        ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[EngineEvent, None]:
        """Yield Accepted, then text in order, then Finished exactly once.

        Raises EngineError: CONTEXT_LIMIT and ENGINE_REJECTED are final, ENGINE_ABORTED and ENGINE_DIED retryable.
        """
        ...

    async def usage(self) -> EngineUsage:
        """What the engine says it uses; EngineError where it does not answer."""
        ...

    async def wait_exit(self) -> str:
        """Return, with a sentence on why, once the engine serves no more without having been stopped.

        Some of its processes may be left: :meth:`stop` is what ends them all.
        """
        ...

    async def sleep(self) -> None:
        """Move the weights to host memory; UnsupportedError where capability ``sleep`` is false."""
        ...

    async def wake(self) -> None:
        """Move the weights back; UnsupportedError where capability ``sleep`` is false."""
        ...

    async def stop(self) -> None:
        """Return once every process and every byte of it is gone. Idempotent."""
        ...


class Engine(Protocol):
    """Starts replicas."""

    @property
    def capabilities(self) -> EngineCapabilities:
        """What this engine can do here."""
        ...

    async def prepare(self) -> None:
        """Get ready to start replicas: reap what a crashed predecessor left behind, find out versions."""
        ...

    async def start(self, launch: ReplicaLaunch) -> EngineReplica:
        """Begin to start a replica; it serves after its ``wait_ready``.

        Raises InvalidInputError where it cannot work, EngineError (LOAD_FAILED) where it cannot be started.
        """
        ...

    async def close(self) -> None:
        """Release what the engine itself holds; replicas have been stopped before."""
        ...
