"""Tests that a scenario's tensor-parallel models find their accelerators, or are told why not."""

from __future__ import annotations

import json

import pytest
from scenario_text import SMALL, changed, line_of, written

from maestro.errors import InvalidInputError
from maestro.fleet import AcceleratorSpec, NodeSpec
from maestro.scenario import load

FOUR = SMALL.replace("name: gpu, kind: k,", "name: gpu, kind: k, count: 4,")
SIZE = "max_batch: 8\n    tensor_parallel_size: "


def parallel(size: int | str, more: str = "") -> str:
    """The small scenario with four accelerators and a model that takes ``size`` of them."""
    return FOUR.replace("max_batch: 8", f"{SIZE}{size}{more}")


def node(*kinds: str) -> NodeSpec:
    accelerators = tuple(AcceleratorSpec(f"{kind}{i}", kind, 1, 1) for i, kind in enumerate(kinds))
    return NodeSpec("n", accelerators, 0, 1.0, 1.0)


def test_that_a_model_takes_one_accelerator_unless_it_says_otherwise(tmp_path):
    assert load(written(tmp_path, SMALL)).model_specs["small"].tensor_parallel_size == 1
    model = load(written(tmp_path, parallel(2))).model_specs["small"]
    assert (model.tensor_parallel_size, model.share_bytes(7)) == (2, 4)


def test_that_groups_are_neighbours_of_one_kind_and_share_no_accelerator():
    assert node("a", "b", "a", "a", "a", "b").groups(2) == (("a0", "a2"), ("a3", "a4"), ("b1", "b5"))
    assert node("a", "a").groups(1) == (("a0",), ("a1",))
    assert node("a", "b", "a").groups(3) == ()


def test_that_each_accelerator_has_to_hold_its_share_alone(tmp_path):
    halves = parallel(2).replace("weights: 6 GB", "weights: 40 GB")
    assert load(written(tmp_path, halves)).model_specs["small"].weights_bytes == 40_000_000_000
    whole = halves.replace("tensor_parallel_size: 2", "tensor_parallel_size: 1")
    with pytest.raises(InvalidInputError, match=r"take 39.25 GiB, .* has 24 GiB; .*raise tensor_parallel_size"):
        load(written(tmp_path, whole))
    with pytest.raises(InvalidInputError, match=r"take 28.94 GiB on each of 2, .*has 24 GiB"):
        load(written(tmp_path, halves.replace("40 GB", "60 GB")))


@pytest.mark.parametrize(
    ("text", "fragment", "message"),
    [
        (parallel(0), "tensor_parallel_size", r"tensor_parallel_size: should be greater than or equal to 1"),
        (parallel("two"), "tensor_parallel_size", r"tensor_parallel_size: should be a valid integer"),
        (parallel(5), "tensor_parallel_size", r"is more than any node has accelerators .* \(got 5\); at most 4"),
        (changed("max_batch: 8", f"{SIZE}2"), "tensor_parallel_size", r"\(got 2\); at most 1, or give a node more"),
        (
            parallel(2, "\n    pinned_on: [gpu-1]"),
            "pinned_on",
            r"pinned_on\[0\]: begins no group of 2 \(got 'gpu-1'\); name one of: gpu-0, gpu-2",
        ),
    ],
)
def test_that_a_size_without_accelerators_is_pointed_at(tmp_path, text, fragment, message):
    path = written(tmp_path, text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        load(path)
    assert caught.value.field.startswith(f"{path}:{line_of(text, fragment)}: ")


def test_that_a_pinned_model_names_the_first_of_its_accelerators(tmp_path):
    pinned = load(written(tmp_path, parallel(2, "\n    pinned_on: [gpu-2]")))
    assert pinned.model_specs["small"].pinned_on == {"gpu-2"}


def test_that_accelerators_of_one_replica_agree_on_elastic_memory(tmp_path):
    other = "            - {name: gpu, kind: k, memory: 24 GiB, slots: 8}\n"
    both = other + other.replace("gpu", "gpv").replace("slots: 8", "slots: 8, kv_elastic: true")
    text = changed(other, both).replace("max_batch: 8", f"{SIZE}2")
    with pytest.raises(InvalidInputError, match=r"would take gpu, gpv, which differ in kv_elastic; set kv_elastic on"):
        load(written(tmp_path, text))


@pytest.mark.parametrize(("heads", "kv_heads", "fits"), [(32, 8, True), (4, 1, True), (9, 3, False), (6, 3, False)])
def test_that_the_size_shares_the_models_heads_out(tmp_path, heads, kv_heads, fits):
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"num_attention_heads": heads, "num_key_value_heads": kv_heads}), encoding="utf-8"
    )
    path = written(tmp_path, parallel(2))
    if fits:
        assert load(path)
        return
    with pytest.raises(InvalidInputError, match=f"cannot share out {heads} attention heads .* use one of: 1, 3"):
        load(path)
