"""What a node agent is started with. The command line builds it from the scenario file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from maestro.fleet import ModelSpec, NodeSpec


class EngineKind(StrEnum):
    """Which engine runs the models."""

    VLLM = "vllm"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where an engine finds a model and how it is to be started.

    ``path`` is a local folder in Hugging Face layout; ``served_name`` the name the engine knows it by;
    ``dtype`` as vLLM spells it; ``extra_arguments`` are passed to the engine last, as they are.
    """

    path: Path
    served_name: str
    dtype: str = "auto"
    extra_arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How engines are run on this node.

    ``python`` is an interpreter that has vLLM. ``runtime_dir`` holds sockets and the records by which a later agent
    reaps what a crashed one left; it belongs to one agent and is made private (0700). ``log_dir`` gets one file a
    replica. A ready engine that has not answered for ``hang_timeout_s`` is taken for dead. ``nice`` is added to the
    engines' niceness, so that they never starve the agent. ``enable_sleep`` opens the engine's sleep endpoints (on its
    unix socket only); it has no effect on a CPU, where sleeping frees nothing. ``simulation_seed`` is read by the
    simulated engine only.
    """

    kind: EngineKind
    python: Path
    runtime_dir: Path
    log_dir: Path
    enforce_eager: bool = True
    start_timeout_s: float = 300.0
    stop_timeout_s: float = 15.0
    hang_timeout_s: float = 60.0
    nice: int = 5
    enable_sleep: bool = False
    simulation_seed: int = 0


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node agent.

    ``listen_address`` is where its service listens and ``advertise_address`` where the scheduler reaches it, both
    ``host:port``; port 0 picks a free one and an empty advertise address means the one that was bound.
    ``scheduler_address`` empty: the node serves without registering anywhere. ``sources`` names the models whose
    weights the node has, a subset of ``models``.
    """

    cluster: str
    node: NodeSpec
    models: Mapping[str, ModelSpec]
    sources: Mapping[str, ModelSource]
    engine: EngineSettings
    listen_address: str = "127.0.0.1:0"
    advertise_address: str = ""
    scheduler_address: str = ""
