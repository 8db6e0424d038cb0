"""Small fleets, models and requests for the node's tests."""

from __future__ import annotations

from dataclasses import replace

from maestro.fleet import AcceleratorSpec, ModelSpec, NodeSpec, SpeedCoefficients
from maestro.v1 import node_pb2, workflow_pb2
from maestro.workflow import ChatMessage, Sampling
from maestro_node.engines.interface import Device, GenerationRequest, ReplicaLaunch

KV_BYTES_PER_TOKEN = 10
POOL_BYTES = 10_000


def make_model(
    name: str = "small", *, weights_bytes: int = 20_000, max_batch: int = 4, start_s: float = 0.0, size: int = 1
) -> ModelSpec:
    """``size``: how many accelerators a replica takes."""
    return ModelSpec(
        name=name,
        weights_bytes=weights_bytes,
        kv_bytes_per_token=KV_BYTES_PER_TOKEN,
        kv_pool_bytes=POOL_BYTES,
        overhead_bytes=1_000,
        context_tokens=512,
        max_batch=max_batch,
        speeds={"cpu": SpeedCoefficients(1e6, 1e5, 0.1, 0.5, start_s)},
        tensor_parallel_size=size,
    )


def make_node(
    *,
    memory_bytes: int = 100_000,
    slots: int = 8,
    kv_elastic: bool = False,
    host_memory_bytes: int = 50_000,
    accelerators: int = 2,
) -> NodeSpec:
    names = (f"n1/{i}" for i in range(accelerators))
    specs = tuple(AcceleratorSpec(name, "cpu", memory_bytes, slots, kv_elastic, (i,)) for i, name in enumerate(names))
    return NodeSpec("n1", specs, host_memory_bytes, 1e9, 1e9)


def make_launch(
    model: ModelSpec, *, accelerator: AcceleratorSpec | None = None, index: int = 0, generation: int = 1
) -> ReplicaLaunch:
    """A launch on as many devices as the model takes, of the accelerator's kind, from the device of that index on."""
    first = accelerator or make_node().accelerators[0]
    others = (replace(first, name=f"{first.name}+{i}") for i in range(1, model.tensor_parallel_size))
    devices = tuple(Device(spec, index + i) for i, spec in enumerate((first, *others)))
    return ReplicaLaunch(devices, model, generation, model.kv_pool_bytes)


def make_request(request_id: str, *, tokens: int = 20, content: str = "Say something.") -> GenerationRequest:
    """A request whose output is exactly ``tokens`` long."""
    forced = Sampling(temperature=0.0, min_tokens=tokens, ignore_eos=True)
    return GenerationRequest(request_id, (ChatMessage("user", content),), forced, tokens)


def make_reference(model: str = "small", *, accelerator: str = "n1/0", generation: int = 1) -> node_pb2.ReplicaRef:
    return node_pb2.ReplicaRef(accelerator=accelerator, model=model, generation=generation)


def make_execute(
    attempt_id: str = "a1", *, epoch: int = 1, tokens: int = 20, reservation: int = 1_000, generation: int = 1
) -> node_pb2.ExecuteStageRequest:
    return node_pb2.ExecuteStageRequest(
        scheduler_epoch=epoch,
        attempt_id=attempt_id,
        replica=make_reference(generation=generation),
        messages=[workflow_pb2.ChatMessage(role="user", content="Say something.")],
        sampling=workflow_pb2.Sampling(min_tokens=tokens, ignore_eos=True),
        max_tokens=tokens,
        kv_reservation_bytes=reservation,
    )
