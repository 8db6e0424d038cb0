"""Reads commands off the wire: what they mean here, or which field is wrong and how to mend it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from maestro.errors import InvalidInputError
from maestro.v1 import node_pb2, workflow_pb2
from maestro.workflow import ChatMessage, Sampling
from maestro_node.core.attempts import Attempt
from maestro_node.core.replica import ReplicaKey
from maestro_node.engines.interface import GenerationRequest

_ROLES = ("system", "user", "assistant", "tool")
_PRIORITY_LIMIT = 100


def replica_key(reference: node_pb2.ReplicaRef) -> ReplicaKey:
    """Read which replica is meant; InvalidInputError where a part is missing."""
    for field, value in (("accelerator", reference.accelerator), ("model", reference.model)):
        if not value:
            raise InvalidInputError(f"replica.{field}", "is empty", remedy="name it as the scenario does")
    if not reference.generation:
        raise InvalidInputError("replica.generation", "is missing", remedy="give the generation of the load, from 1 on")
    return ReplicaKey(reference.accelerator, reference.model, reference.generation)


def attempt_of(request: node_pb2.ExecuteStageRequest) -> Attempt:
    """Read which attempt is meant. Its fingerprint leaves out the epoch: a new leader may repeat the request."""
    essence = node_pb2.ExecuteStageRequest()
    essence.CopyFrom(request)
    essence.scheduler_epoch = 0
    fingerprint = hashlib.sha256(essence.SerializeToString(deterministic=True)).hexdigest()
    return Attempt(request.attempt_id, replica_key(request.replica), request.kv_reservation_bytes, fingerprint)


def generation_request(request: node_pb2.ExecuteStageRequest) -> GenerationRequest:
    """Read what the engine is asked; InvalidInputError names the field that cannot be used."""
    if not request.max_tokens:
        raise InvalidInputError("max_tokens", "has to be at least 1", value=0)
    if abs(request.priority) > _PRIORITY_LIMIT:
        raise InvalidInputError("priority", "has to be from -100 to 100", value=request.priority)
    return GenerationRequest(
        id=request.attempt_id,
        messages=_messages(request.messages),
        sampling=_sampling(request.sampling),
        max_tokens=request.max_tokens,
        priority=request.priority,
    )


def _messages(messages: Sequence[workflow_pb2.ChatMessage]) -> tuple[ChatMessage, ...]:
    """Read the prompt."""
    if not messages:
        raise InvalidInputError("messages", "is empty", remedy="send at least one message")
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise InvalidInputError(
                f"messages[{index}].role", "is no role", value=message.role, remedy=f"use one of: {', '.join(_ROLES)}"
            )
    return tuple(ChatMessage(message.role, message.content) for message in messages)


def _sampling(sampling: workflow_pb2.Sampling) -> Sampling:
    """Read the sampling parameters; a field that is not set stays None."""
    return Sampling(
        temperature=sampling.temperature if sampling.HasField("temperature") else None,
        top_p=sampling.top_p if sampling.HasField("top_p") else None,
        seed=sampling.seed if sampling.HasField("seed") else None,
        stop=tuple(sampling.stop),
        min_tokens=sampling.min_tokens if sampling.HasField("min_tokens") else None,
        ignore_eos=sampling.ignore_eos if sampling.HasField("ignore_eos") else None,
    )
