"""How vLLM's OpenAI server is started for a replica: arguments and environment, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro_node.config import EngineSettings, ModelSource
from maestro_node.engines.interface import ReplicaLaunch
from maestro_node.engines.replica_records import ReplicaRecord

PROCESS_NAME_PREFIX = "VLLM"  # vLLM names the processes that serve "VLLM::Worker" and the like
_SERVER_MODULE = "vllm.entrypoints.openai.api_server"
_NOT_INHERITED = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "VLLM_API_KEY",  # the socket is private; with a key our own client would be turned away
        "VLLM_CPU_KVCACHE_SPACE",  # would overrule the pool's size
        "VLLM_CPU_OMP_THREADS_BIND",
        "VLLM_SERVER_DEV_MODE",
    }
)


def server_arguments(
    settings: EngineSettings, source: ModelSource, launch: ReplicaLaunch, socket: Path
) -> tuple[str, ...]:
    """The command line of the server; the model's own extra arguments come last and win."""
    model = launch.model
    arguments = [
        *(str(settings.python.absolute()), "-m", _SERVER_MODULE),
        *("--model", str(source.path.absolute())),
        *("--served-model-name", source.served_name),
        *("--uds", str(socket)),
        *("--dtype", source.dtype),
        *("--max-model-len", str(model.context_tokens)),
        *("--max-num-seqs", str(model.max_batch)),
        *("--scheduling-policy", "priority"),
        "--disable-uvicorn-access-log",
        "--disable-fastapi-docs",
    ]
    if model.tensor_parallel_size > 1:
        arguments += ["--tensor-parallel-size", str(model.tensor_parallel_size)]
    if launch.kv_pool_bytes:  # of each device
        arguments += ["--kv-cache-memory-bytes", str(model.share_bytes(launch.kv_pool_bytes))]
    if settings.enforce_eager:
        arguments.append("--enforce-eager")
    if supports_sleep(settings, launch):
        arguments.append("--enable-sleep-mode")
    return (*arguments, *source.extra_arguments)


def server_environment(
    inherited: Mapping[str, str], settings: EngineSettings, launch: ReplicaLaunch, record: ReplicaRecord
) -> dict[str, str]:
    """The server's environment: the agent's own, less what would steer vLLM by accident, plus what the replica needs.

    The engine is bound to its accelerators' cores, one set a rank, or sees only their GPUs. It never asks a hub for
    anything, reports no usage statistics, and its processes talk to each other over loopback and over sockets in the
    replica's own folder, which would otherwise lie in the open in /tmp and stay there.
    """
    environment = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    marker_name, _, marker_value = record.marker.partition("=")
    environment |= {marker_name: marker_value, "TMPDIR": record.folder, "VLLM_RPC_BASE_PATH": record.folder}
    environment["VLLM_PROCESS_NAME_PREFIX"] = PROCESS_NAME_PREFIX
    environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"}
    if launch.accelerator.cpu_cores:
        cores_by_rank = (",".join(str(core) for core in device.spec.cpu_cores) for device in launch.devices)
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "|".join(cores_by_rank)
    else:
        visible = (_visible_device(inherited, device.index) for device in launch.devices)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
    if supports_sleep(settings, launch):
        environment["VLLM_SERVER_DEV_MODE"] = "1"
    return environment


def supports_sleep(settings: EngineSettings, launch: ReplicaLaunch) -> bool:
    """Whether the replica can sleep: where it is enabled, and not on CPU cores, where sleeping frees nothing."""
    return settings.enable_sleep and not launch.accelerator.cpu_cores


def check_launch(source: ModelSource | None, launch: ReplicaLaunch) -> ModelSource:
    """The model's source, where vLLM can be started with it; InvalidInputError names what is wrong otherwise."""
    if source is None:
        raise InvalidInputError(
            "replica.model",
            "has no weights on this node",
            value=launch.model.name,
            remedy="give its path in the scenario",
        )
    if not (source.path / "config.json").is_file():
        raise InvalidInputError(
            f"models.{launch.model.name}.path",
            "is not a model folder with a config.json",
            value=str(source.path),
            remedy="import the model first: maestro model import SOURCE DEST",
        )
    _check_pool(launch)
    return source


def _visible_device(inherited: Mapping[str, str], device_index: int) -> str:
    """The GPU at this position among those that the agent itself may see."""
    visible = inherited.get("CUDA_VISIBLE_DEVICES")
    if not visible:
        return str(device_index)
    devices = visible.split(",")
    if device_index >= len(devices):
        raise InvalidInputError(
            "CUDA_VISIBLE_DEVICES",
            f"shows {len(devices)} GPU(s), but the node's accelerator {device_index + 1} is wanted",
            value=visible,
            remedy="show the agent every GPU that the scenario gives to its node",
        )
    return devices[device_index]


def _check_pool(launch: ReplicaLaunch) -> None:
    """VLLM starts only with a pool that holds one request of full length."""
    least_bytes = launch.model.context_tokens * launch.model.kv_bytes_per_token
    if 0 < launch.kv_pool_bytes < least_bytes:
        raise InvalidInputError(
            "kv_pool_bytes",
            f"is less than the {least_bytes} bytes of one request of {launch.model.context_tokens} tokens",
            value=launch.kv_pool_bytes,
            remedy="raise the pool or lower the model's context_tokens",
        )
