"""Where tests find a real engine and a model, or why they are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from maestro.fleet import AcceleratorSpec, ModelSpec, NodeSpec, SpeedCoefficients
from maestro_node.config import EngineKind, EngineSettings, ModelSource
from maestro_node.engines.process_identity import ProcessIdentity

ROOT = Path(__file__).parents[2]
POOL_BYTES = 64 << 20


def engine_python() -> Path:
    """An interpreter that has vLLM; the test is skipped where there is none."""
    python = Path(os.environ.get("MAESTRO_ENGINE_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"no engine interpreter at {python}: run `make setup` or set MAESTRO_ENGINE_PYTHON")
    return python


def model_path() -> Path:
    """A folder with a small model; the test is skipped where there is none."""
    path = Path(os.environ.get("MAESTRO_TEST_MODEL", ROOT / ".models" / "smollm2-135m-instruct"))
    if not (path / "config.json").exists():
        pytest.skip(f"no model at {path}: run `make setup` or set MAESTRO_TEST_MODEL")
    return path


def shared_memory(processes: Iterable[ProcessIdentity]) -> frozenset[Path]:
    """The files of shared memory that the processes have mapped."""
    paths = {Path(item.path) for process in processes for item in psutil.Process(process.pid).memory_maps()}
    return frozenset(path for path in paths if path.is_relative_to("/dev/shm") and path.exists())


def real_settings(folder: Path) -> EngineSettings:
    return EngineSettings(EngineKind.VLLM, engine_python(), folder / "run", folder / "log")


def real_sources() -> dict[str, ModelSource]:
    return {"small": ModelSource(model_path(), "small", "bfloat16")}


def real_model() -> ModelSpec:
    """SmolLM2-135M-Instruct with a context that its 64 MiB pool holds."""
    return ModelSpec(
        name="small",
        weights_bytes=270 << 20,
        kv_bytes_per_token=23_040,
        kv_pool_bytes=POOL_BYTES,
        overhead_bytes=2 << 30,
        context_tokens=1024,
        max_batch=4,
        speeds={"cpu": SpeedCoefficients(500, 25, 0.05, 0.8, 40)},
    )


def real_node() -> NodeSpec:
    """Two accelerators of one core each; both on the same core where the machine has but one."""
    cores = sorted(os.sched_getaffinity(0))
    accelerators = tuple(
        AcceleratorSpec(f"n1/{index}", "cpu", 4 << 30, 8, cpu_cores=(cores[index % len(cores)],)) for index in range(2)
    )
    return NodeSpec("n1", accelerators, 0, 1e9, 1e9)
