"""Section ``engine``: how nodes start engines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maestro.scenario.fleet import EngineKind
from maestro.section import Flag, PositiveSeconds, RelativePath, Section


class EngineSection(Section):
    """Settings of the engine processes."""

    kind: EngineKind = Field(default="vllm", description="vllm, or simulated for tests.")
    python: RelativePath | None = Field(
        default=None,
        description="Interpreter that has vLLM installed; relative to the scenario file. Required for vllm.",
    )
    enforce_eager: Flag = Field(
        default=False, description="No CUDA graphs: starts faster, decodes slower on GPUs; true on CPUs."
    )
    start_timeout_s: PositiveSeconds = Field(
        default=300.0, alias="start_timeout", description="An engine not ready by then has failed, e.g. 5 min."
    )
    stop_timeout_s: PositiveSeconds = Field(
        default=15.0, alias="stop_timeout", description="An engine that has not ended by then is killed, e.g. 15 s."
    )
    hang_timeout_s: PositiveSeconds = Field(
        default=60.0,
        alias="hang_timeout",
        description="A ready engine that has not answered for so long is killed, its work tried again, e.g. 60 s.",
    )
    nice: Annotated[int, Field(strict=True, ge=0, le=19)] = Field(
        default=0,
        description="Niceness of engine processes: over 0, the node's own service answers first on busy cores.",
    )
    log_dir: RelativePath = Field(
        validate_default=True,
        default="logs",
        description="Folder of the engines' log files; relative to the scenario file.",
    )
    sleep: Flag = Field(
        default=False,
        description="An evicted engine moves its weights to host memory and back instead of being stopped and started "
        "(vLLM's sleep mode); GPUs with fixed KV pools only.",
    )
