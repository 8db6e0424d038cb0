"""How a vLLM server is started."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from node_builders import make_launch, make_model, make_node

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec
from maestro_node.config import EngineKind, EngineSettings, ModelSource
from maestro_node.engines.vllm.command import check_launch, server_arguments, server_environment
from maestro_node.engines.vllm.process import make_record
from maestro_node.engines.vllm.runtime_folder import make_replica_folder

SETTINGS = EngineSettings(EngineKind.VLLM, Path("/opt/engine/bin/python"), Path("/run/m"), Path("/var/log/m"))
SOURCE = ModelSource(Path("/models/small"), "served-small", "bfloat16", ("--block-size", "32"))
GPU = AcceleratorSpec("n1/gpu1", "h100", 80 << 30, 64)
SOCKET = Path("/tmp/maestro-1/engine.sock")
RECORD = replace(make_record(make_launch(make_model()), SETTINGS, SOCKET.parent), marker="MARK=1")


def option(arguments: tuple[str, ...], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_a_server_gets_an_explicit_pool_batch_context_and_name() -> None:
    arguments = server_arguments(SETTINGS, SOURCE, make_launch(make_model()), SOCKET)
    assert arguments[0] == "/opt/engine/bin/python"
    assert option(arguments, "--kv-cache-memory-bytes") == "10000"
    assert option(arguments, "--max-num-seqs") == "4"
    assert option(arguments, "--max-model-len") == "512"
    assert option(arguments, "--served-model-name") == "served-small"
    assert option(arguments, "--scheduling-policy") == "priority"
    assert option(arguments, "--uds") == str(SOCKET)
    assert arguments[-2:] == ("--block-size", "32")


def test_a_server_never_listens_on_a_port() -> None:
    arguments = server_arguments(SETTINGS, SOURCE, make_launch(make_model()), SOCKET)
    assert not {"--host", "--port"} & set(arguments)


def test_a_cpu_replica_is_bound_to_its_cores() -> None:
    launch = make_launch(make_model(), accelerator=replace(GPU, cpu_cores=(2, 3)))
    environment = server_environment({}, SETTINGS, launch, RECORD)
    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "2,3"
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_a_tensor_parallel_server_is_told_its_size_and_each_devices_share_of_the_pool() -> None:
    launch = make_launch(make_model(size=3), accelerator=GPU)
    arguments = server_arguments(SETTINGS, SOURCE, launch, SOCKET)
    assert option(arguments, "--tensor-parallel-size") == "3"
    assert option(arguments, "--kv-cache-memory-bytes") == "3334"
    alone = server_arguments(SETTINGS, SOURCE, make_launch(make_model()), SOCKET)
    assert "--tensor-parallel-size" not in alone


def test_a_tensor_parallel_replica_has_a_set_of_cores_for_each_rank() -> None:
    launch = make_launch(make_model(size=2), accelerator=replace(GPU, cpu_cores=(2, 3)))
    assert server_environment({}, SETTINGS, launch, RECORD)["VLLM_CPU_OMP_THREADS_BIND"] == "2,3|2,3"


def test_a_tensor_parallel_replica_sees_all_its_gpus_in_order() -> None:
    launch = make_launch(make_model(size=2), accelerator=GPU, index=2)
    environment = server_environment({"CUDA_VISIBLE_DEVICES": "7,6,5,4"}, SETTINGS, launch, RECORD)
    assert environment["CUDA_VISIBLE_DEVICES"] == "5,4"


@pytest.mark.parametrize(("inherited", "device"), [({}, "1"), ({"CUDA_VISIBLE_DEVICES": "4,6"}, "6")])
def test_a_gpu_replica_sees_only_its_gpu(inherited: dict[str, str], device: str) -> None:
    launch = make_launch(make_model(), accelerator=GPU, index=1)
    assert server_environment(inherited, SETTINGS, launch, RECORD)["CUDA_VISIBLE_DEVICES"] == device


def test_a_gpu_that_the_agent_cannot_see_is_an_error() -> None:
    launch = make_launch(make_model(), accelerator=GPU, index=1)
    with pytest.raises(InvalidInputError, match="shows 1 GPU"):
        server_environment({"CUDA_VISIBLE_DEVICES": "0"}, SETTINGS, launch, RECORD)


@pytest.mark.parametrize(
    ("enable_sleep", "accelerator", "opens"),
    [(True, GPU, True), (False, GPU, False), (True, make_node().accelerators[0], False)],
    ids=["gpu, enabled", "gpu, not enabled", "cpu"],
)
def test_admin_endpoints_are_opened_only_where_sleep_works(
    enable_sleep: bool, accelerator: AcceleratorSpec, opens: bool
) -> None:
    settings = replace(SETTINGS, enable_sleep=enable_sleep)
    launch = make_launch(make_model(), accelerator=accelerator)
    environment = server_environment({"VLLM_SERVER_DEV_MODE": "1"}, settings, launch, RECORD)
    assert ("VLLM_SERVER_DEV_MODE" in environment) is opens
    assert ("--enable-sleep-mode" in server_arguments(settings, SOURCE, launch, SOCKET)) is opens


def test_settings_that_would_overrule_the_ledger_are_not_inherited() -> None:
    inherited = {"VLLM_CPU_KVCACHE_SPACE": "40", "VLLM_API_KEY": "secret", "PATH": "/bin"}
    environment = server_environment(inherited, SETTINGS, make_launch(make_model()), RECORD)
    assert "VLLM_CPU_KVCACHE_SPACE" not in environment
    assert "VLLM_API_KEY" not in environment
    assert environment["TMPDIR"] == environment["VLLM_RPC_BASE_PATH"] == RECORD.folder
    assert (environment["PATH"], environment["HF_HUB_OFFLINE"], environment["MARK"]) == ("/bin", "1", "1")


@pytest.fixture
def source(tmp_path: Path) -> ModelSource:
    (tmp_path / "config.json").write_text("{}")
    return replace(SOURCE, path=tmp_path)


def test_a_model_without_weights_on_the_node_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no weights on this node"):
        check_launch(None, make_launch(make_model()))


def test_a_folder_that_holds_no_model_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidInputError, match="maestro model import"):
        check_launch(SOURCE, make_launch(make_model()))


def test_a_pool_too_small_for_one_request_is_refused(source: ModelSource) -> None:
    launch = replace(make_launch(make_model()), kv_pool_bytes=5_119)
    with pytest.raises(InvalidInputError, match="5120 bytes of one request of 512 tokens"):
        check_launch(source, launch)


def test_a_folder_too_long_for_sockets_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 70)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with pytest.raises(InvalidInputError, match="TMPDIR: makes socket paths longer than 107 bytes"):
        make_replica_folder()
    assert list(deep.iterdir()) == []


def test_a_replicas_folder_is_private() -> None:
    folder = make_replica_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
