"""Section ``models``: the table logical model -> served name -> weights revision, with memory needs and speeds."""

from __future__ import annotations

from pydantic import Field

from maestro.fleet import ModelSpec, SpeedCoefficients
from maestro.scenario.weights import ModelFolder
from maestro.section import (
    Bytes,
    Count,
    Name,
    NonNegative,
    Positive,
    PositiveBytes,
    RelativePath,
    Seconds,
    Section,
)


class SpeedSection(Section):
    """How a model runs on one kind of accelerator."""

    prefill_tokens_per_s: Positive = Field(description="Prompt tokens read per second, one stage alone.")
    decode_tokens_per_s: Positive = Field(description="Output tokens per second of one stage alone.")
    batch_slope: NonNegative = Field(description="Growth of a decode step's time per further stage in the batch.")
    colocation_slope: NonNegative = Field(
        description="Growth of a decode step's time per further model at work on the accelerator."
    )
    start_s: Seconds = Field(
        alias="start", description="Engine start until ready, without reading the weights, e.g. 40 s."
    )
    prefill_overhead_s: Seconds = Field(
        default=0.0, alias="prefill_overhead", description="Time that a prompt takes besides its tokens, e.g. 50 ms."
    )
    prefill_stall: NonNegative = Field(
        default=0.0,
        le=1.0,
        description="Share of their decode rate that other stages of a replica lose while it reads a prompt; simulated "
        "only.",
    )

    def coefficients(self) -> SpeedCoefficients:
        """Return the same as the performance model takes them."""
        return SpeedCoefficients(
            prefill_tokens_per_s=self.prefill_tokens_per_s,
            decode_tokens_per_s=self.decode_tokens_per_s,
            batch_slope=self.batch_slope,
            colocation_slope=self.colocation_slope,
            start_s=self.start_s,
            prefill_overhead_s=self.prefill_overhead_s,
            prefill_stall=self.prefill_stall,
        )


class ModelSection(Section):
    """One logical model. What is left out is read from the model's folder, where it is on this machine."""

    name: Name = Field(description="Logical name that workflows use, unique.")
    path: RelativePath = Field(
        description="Folder with config.json, tokenizer and safetensors; relative to the scenario file."
    )
    served_name: str | None = Field(
        default=None, min_length=1, description="Name the engine serves it as; left out: name."
    )
    revision: str | None = Field(
        default=None, min_length=1, description="Revision of the weights in path; models that share a path share it."
    )
    weights_bytes: PositiveBytes | None = Field(
        default=None,
        alias="weights",
        description="Size of the weights; left out: sum of the safetensors files in path.",
    )
    kv_bytes_per_token: PositiveBytes | None = Field(
        default=None, description="KV cache per token, bytes; left out: from config.json in path."
    )
    kv_pool_bytes: PositiveBytes = Field(
        alias="kv_pool", description="KV pool of a replica where KV is not elastic, e.g. 8 GiB; holds one full context."
    )
    overhead_bytes: PositiveBytes = Field(
        alias="overhead", description="Memory of an engine beyond weights and KV, e.g. 2.3 GiB."
    )
    sleep_overhead_bytes: Bytes = Field(
        default=2 << 30,
        alias="sleep_overhead",
        description="Device memory that an engine keeps while it sleeps (engine.sleep), e.g. 2 GiB.",
    )
    context_tokens: Count | None = Field(
        default=None,
        description="Prompt plus output at most, tokens; left out: max_position_embeddings of config.json.",
    )
    max_batch: Count = Field(description="Stages that one replica runs at once.")
    tensor_parallel_size: Count = Field(
        default=1,
        description="Accelerators of one node that a replica takes at once: neighbours of one kind. Sizes and speeds "
        "here are those of the whole replica; each accelerator holds an equal share. Has to divide the model's "
        "attention heads.",
    )
    speeds: dict[Name, SpeedSection] = Field(
        min_length=1, description="Speed by kind of accelerator; a kind left out cannot serve the model."
    )
    pinned_on: tuple[Name, ...] = Field(
        default=(),
        description="Accelerators on which the model always stays resident; of several that it takes, the first.",
    )
    engine_args: tuple[str, ...] = Field(default=(), description="Further arguments of the engine's command line.")

    @property
    def engine_name(self) -> str:
        """The name the engine serves the model as."""
        return self.served_name or self.name

    def spec(self) -> ModelSpec:
        """Return the model as the scheduler knows it.

        Raises InvalidInputError, its field a key of this section, where a figure is left out and cannot be derived.
        """
        folder = ModelFolder(self.path)
        return ModelSpec(
            name=self.name,
            weights_bytes=self.weights_bytes or folder.weights_bytes(),
            kv_bytes_per_token=self.kv_bytes_per_token or folder.kv_bytes_per_token(self.tensor_parallel_size),
            kv_pool_bytes=self.kv_pool_bytes,
            overhead_bytes=self.overhead_bytes,
            context_tokens=self.context_tokens or folder.context_tokens(),
            max_batch=self.max_batch,
            speeds={kind: speed.coefficients() for kind, speed in self.speeds.items()},
            pinned_on=frozenset(self.pinned_on),
            sleeping_bytes=self.sleep_overhead_bytes,
            tensor_parallel_size=self.tensor_parallel_size,
        )
