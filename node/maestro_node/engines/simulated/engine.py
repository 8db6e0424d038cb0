"""The simulated engine behind the engine interface, driven by an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from maestro.errors import UnsupportedError
from maestro.fleet import SpeedCoefficients
from maestro.reasons import Reason
from maestro_node.engines.clock import Clock
from maestro_node.engines.interface import (
    Accepted,
    EngineCapabilities,
    EngineError,
    EngineEvent,
    EngineUsage,
    Finished,
    GenerationRequest,
    ReplicaLaunch,
    TextChunk,
)
from maestro_node.engines.simulated.sharing import SharedAccelerators
from maestro_node.engines.simulated.text import answer, prompt_tokens

_SHORTEST_WAIT_S = 1e-6  # rounding must not make a wait too short for a virtual clock to move


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, for tests.

    Models that fail to start; and by model name the token of a request at which the engine dies or aborts the request.
    """

    fails_to_start: frozenset[str] = frozenset()
    dies_at_token: Mapping[str, int] = field(default_factory=dict)
    aborts_at_token: Mapping[str, int] = field(default_factory=dict)


class SimulatedReplica:
    """A replica that takes the time a real one would take, by the model's speeds."""

    def __init__(self, engine: SimulatedEngine, launch: ReplicaLaunch, shared: SharedAccelerators) -> None:
        self._engine = engine
        self._launch = launch
        self._shared = shared
        self._name = f"{launch.model.name}@{launch.accelerator.name}"
        self._taken = frozenset(device.spec.name for device in launch.devices)
        self._clock = engine.clock
        self._exit: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reserved_tokens = 0
        self._is_stopped = False

    async def wait_ready(self) -> None:
        """Return after the model's start time."""
        await self._clock.sleep(self._speed.start_s)
        if self._launch.model.name in self._engine.faults.fails_to_start:
            raise EngineError(Reason.LOAD_FAILED, "the simulated engine was told to fail its start", retryable=False)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[EngineEvent, None]:
        """Yield the answer token by token as simulated time passes."""
        self._require_alive()
        prompt = prompt_tokens(request)
        room_tokens = self._context_room(request, prompt)
        tokens, finish_reason = answer(request, self._engine.seed, room_tokens)
        held_tokens = prompt + len(tokens)
        self._shared.add(request.id, self._name, self._taken, self._speed, prompt, self._clock.now())
        self._reserved_tokens += held_tokens
        try:
            yield Accepted()
            for count, text in enumerate(tokens, start=1):
                await self._wait_for_token(request.id, count)
                yield TextChunk(text, tokens=1)
            yield Finished(finish_reason, prompt, len(tokens), self._clock.now())
        finally:
            self._reserved_tokens -= held_tokens
            self._shared.remove(request.id, self._clock.now())

    async def usage(self) -> EngineUsage:
        """The share of the pool that running requests hold."""
        self._require_alive()
        pool_bytes = self._launch.kv_pool_bytes or sum(device.spec.memory_bytes for device in self._launch.devices)
        used_bytes = self._reserved_tokens * self._launch.model.kv_bytes_per_token
        return EngineUsage(used_bytes / pool_bytes, self._shared.running(self._name), 0)

    async def wait_exit(self) -> str:
        """Return once the replica has died."""
        return await asyncio.shield(self._exit)

    def die(self, why: str) -> None:
        """End as an engine process that was killed; for tests."""
        if not self._exit.done():
            self._exit.set_result(why)

    async def sleep(self) -> None:
        """Weights leave the device at once."""
        self._require_sleep()

    async def wake(self) -> None:
        """Weights come back over the host link, which is a small part of a start."""
        self._require_sleep()
        await self._clock.sleep(self._speed.start_s * 0.1)

    async def stop(self) -> None:
        """Drop everything."""
        self._is_stopped = True

    @property
    def _speed(self) -> SpeedCoefficients:
        """The model's speed on these accelerators."""
        return self._launch.model.speeds[self._launch.accelerator.kind]

    async def _wait_for_token(self, request_id: str, count: int) -> None:
        """Return once the request has decoded ``count`` tokens, or raise the fault that was asked for."""
        faults = self._engine.faults
        name = self._launch.model.name
        while self._shared.decoded_tokens(request_id) < count:
            wait_s = self._shared.seconds_until(request_id, count)
            await self._clock.sleep(max(_SHORTEST_WAIT_S, wait_s))
            self._shared.advance(self._clock.now())
            self._require_alive()
        if faults.dies_at_token.get(name) == count:
            self.die("the simulated engine was told to die")
            self._require_alive()
        if faults.aborts_at_token.get(name) == count:
            raise EngineError(Reason.ENGINE_ABORTED, "the simulated engine was told to abort", retryable=True)

    def _require_alive(self) -> None:
        """Raise ENGINE_DIED once the replica has died or was stopped."""
        if self._exit.done() or self._is_stopped:
            raise EngineError(Reason.ENGINE_DIED, "the simulated engine is gone", retryable=True)

    def _context_room(self, request: GenerationRequest, prompt: int) -> int:
        """Tokens left for the output; CONTEXT_LIMIT where prompt or ``max_tokens`` alone exceed the context."""
        limit = self._launch.model.context_tokens
        if max(prompt, request.max_tokens) > limit or prompt == limit:
            raise EngineError(
                Reason.CONTEXT_LIMIT,
                f"a prompt of {prompt} and an output of {request.max_tokens} tokens exceed the context of {limit}",
                retryable=False,
            )
        return limit - prompt

    def _require_sleep(self) -> None:
        """Raise UnsupportedError where sleeping is off."""
        if not self._engine.capabilities.sleep:
            raise UnsupportedError("sleep is off for this engine: enable it, or unload the model instead")


class SimulatedEngine:
    """Starts simulated replicas; the same seed and clock give the same answers at the same times."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        faults: Faults | None = None,
        enable_sleep: bool = False,
        kv_elastic: bool = False,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.faults = faults or Faults()
        self._capabilities = EngineCapabilities("simulated", "1", kv_elastic, enable_sleep, tensor_parallel=True)
        self._shared = SharedAccelerators(clock.now())

    @property
    def capabilities(self) -> EngineCapabilities:
        """What it was made with."""
        return self._capabilities

    async def prepare(self) -> None:
        """Nothing is left over from a simulation."""

    async def start(self, launch: ReplicaLaunch) -> SimulatedReplica:
        """Begin to start a replica."""
        return SimulatedReplica(self, launch, self._shared)

    async def close(self) -> None:
        """Nothing is held."""
