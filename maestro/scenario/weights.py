"""What a model's own files say about it: weight bytes, KV bytes per token, context length."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maestro.errors import InvalidInputError

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}


class ModelFolder:
    """A Hugging Face model folder: config.json and safetensors.

    Every method raises InvalidInputError, its field the scenario key that would make the file unnecessary.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def weights_bytes(self) -> int:
        """Return the sum of the safetensors files' sizes, bytes."""
        files = sorted(self._path.glob("*.safetensors"))
        if not files:
            raise self._missing("weights", f"no safetensors file in {self._path}")
        return sum(file.stat().st_size for file in files)

    def context_tokens(self) -> int:
        """Return the longest sequence the model was made for, tokens."""
        return self._positive(self._config("context_tokens"), "max_position_embeddings", "context_tokens")

    def kv_bytes_per_token(self, ranks: int = 1) -> int:
        """Return the KV cache that one token takes over all layers and ``ranks`` of a tensor-parallel engine, bytes.

        2 (key and value) * layers * key-value heads * head size * bytes of the type; for multi-head latent attention
        (``kv_lora_rank``) one compressed vector and its rotary part a layer. Layers with a sliding window count in
        full: an upper bound, as vLLM's uniform page size takes it. Ranks share key-value heads out; where there are
        fewer than ranks, each keeps one of its own, and of a compressed vector each keeps the whole.
        """
        key = "kv_bytes_per_token"
        config = self._config(key)
        layers = self._positive(config, "num_hidden_layers", key)
        dtype_bytes = self._dtype_bytes(config)
        if config.get("kv_lora_rank"):
            latent = self._positive(config, "kv_lora_rank", key) + int(config.get("qk_rope_head_dim") or 0)
            return ranks * layers * latent * dtype_bytes
        heads = self._positive(config, "num_attention_heads", key)
        kv_heads = int(config.get("num_key_value_heads") or heads)
        head_size = int(config.get("head_dim") or self._positive(config, "hidden_size", key) // heads)
        return 2 * layers * max(kv_heads, ranks) * head_size * dtype_bytes

    def head_counts(self) -> tuple[int, int] | None:
        """Return how many attention heads and key-value heads there are; None where no config.json says so."""
        try:
            config = self._config("tensor_parallel_size")
        except InvalidInputError:
            return None
        heads = config.get("num_attention_heads")
        if not isinstance(heads, int):
            return None
        return heads, int(config.get("num_key_value_heads") or heads)

    def _dtype_bytes(self, config: Mapping[str, Any]) -> int:
        """Return the bytes of one KV value: the model's own type, which is what engines use unless told otherwise."""
        dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
        if dtype not in DTYPE_BYTES:
            raise self._missing("kv_bytes_per_token", f"dtype {dtype!r} of {self._path / 'config.json'} is not known")
        return DTYPE_BYTES[dtype]

    def _config(self, key: str) -> Mapping[str, Any]:
        """Read config.json; of a multimodal model its text part."""
        file = self._path / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise self._missing(key, f"there is no {file} on this machine to read it from") from error
        except (OSError, ValueError) as error:
            raise self._missing(key, f"{file} cannot be read: {error}") from error
        if not isinstance(config, dict):
            raise self._missing(key, f"{file} is not a JSON object")
        text = config.get("text_config")
        return {**config, **text} if isinstance(text, dict) else config

    def _positive(self, config: Mapping[str, Any], name: str, key: str) -> int:
        value = config.get(name)
        if not isinstance(value, int) or value < 1:
            raise self._missing(key, f"{self._path / 'config.json'} has no usable {name}")
        return value

    @staticmethod
    def _missing(key: str, problem: str) -> InvalidInputError:
        return InvalidInputError(key, f"is left out, and {problem}", remedy=f"give {key} here")
