"""What is derived from a model's own files."""

import json
from pathlib import Path

import pytest

from maestro.errors import InvalidInputError
from maestro.scenario.weights import ModelFolder

SMOLLM2 = Path(__file__).parents[2] / ".models" / "smollm2-135m-instruct"
LLAMA = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072,
}


def folder(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return ModelFolder(tmp_path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, 2 * 32 * 8 * 128 * 2),
        ({**LLAMA, "head_dim": 64}, 2 * 32 * 8 * 64 * 2),
        ({**LLAMA, "num_key_value_heads": None}, 2 * 32 * 32 * 128 * 2),
        ({**LLAMA, "torch_dtype": "float32"}, 2 * 32 * 8 * 128 * 4),
        ({**LLAMA, "sliding_window": 4096}, 2 * 32 * 8 * 128 * 2),
        ({"text_config": LLAMA, "vision_config": {}}, 2 * 32 * 8 * 128 * 2),
        ({"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "dtype": "bfloat16"}, 61 * 576 * 2),
    ],
    ids=["grouped", "own head size", "multi-head", "float32", "sliding window", "multimodal", "latent"],
)
def test_that_kv_bytes_per_token_follow_the_architecture(tmp_path, config, expected):
    assert folder(tmp_path, config).kv_bytes_per_token() == expected


@pytest.mark.parametrize(
    ("config", "ranks", "times"),
    [
        (LLAMA, 4, 1),
        (LLAMA, 32, 4),
        ({"num_hidden_layers": 61, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "dtype": "bfloat16"}, 8, 8),
    ],
    ids=["shared out", "fewer heads than ranks", "latent"],
)
def test_that_ranks_share_key_value_heads_out_and_keep_at_least_one_each(tmp_path, config, ranks, times):
    model = folder(tmp_path, config)
    assert model.kv_bytes_per_token(ranks) == times * model.kv_bytes_per_token()


def test_that_context_and_weights_are_read(tmp_path):
    (tmp_path / "model-1.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "model-2.safetensors").write_bytes(b"x" * 50)
    model = folder(tmp_path, LLAMA)
    assert model.context_tokens() == 131072
    assert model.weights_bytes() == 150


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"num_hidden_layers": "x"}', "\x00"])
def test_that_an_unusable_config_says_which_key_to_give(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InvalidInputError, match="give kv_bytes_per_token here"):
        ModelFolder(tmp_path).kv_bytes_per_token()


def test_that_an_absent_folder_says_which_key_to_give(tmp_path):
    with pytest.raises(InvalidInputError, match=r"weights: is left out, and no safetensors file .*; give weights here"):
        ModelFolder(tmp_path / "nope").weights_bytes()


@pytest.mark.skipif(not (SMOLLM2 / "config.json").is_file(), reason="SmolLM2 is not on this machine")
def test_that_the_laptop_scenarios_figures_are_those_of_the_real_model():
    model = ModelFolder(SMOLLM2)
    assert model.kv_bytes_per_token() == 23040
    assert model.weights_bytes() == pytest.approx(269_000_000, rel=0.01)
    assert model.context_tokens() == 8192
