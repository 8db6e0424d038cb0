"""Workflows, both ways and without loss."""

from __future__ import annotations

from collections.abc import Iterable

from maestro.codec.scalars import (
    datetime_from_proto,
    datetime_to_proto,
    duration_from_proto,
    duration_to_proto,
    enum_from_proto,
)
from maestro.errors import InvalidInputError
from maestro.v1 import workflow_pb2 as pb
from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, Sampling, Stage, ToolStage, WorkflowSpec

DEFAULT_TENANT = "default"

_POLICIES = {
    pb.CONTEXT_POLICY_UNSPECIFIED: ContextPolicy.FAIL,
    pb.CONTEXT_POLICY_FAIL: ContextPolicy.FAIL,
    pb.CONTEXT_POLICY_TRUNCATE_OLDEST: ContextPolicy.TRUNCATE_OLDEST,
}
_POLICY_NUMBERS = {
    ContextPolicy.FAIL: pb.CONTEXT_POLICY_FAIL,
    ContextPolicy.TRUNCATE_OLDEST: pb.CONTEXT_POLICY_TRUNCATE_OLDEST,
}
_ENGINE_DEFAULTS = Sampling()


def workflow_to_proto(spec: WorkflowSpec) -> pb.Workflow:
    """Encode a workflow; raises InvalidInputError for values that the wire cannot hold (a negative length, say)."""
    message = _encoded("workflow", spec)
    if spec.deadline is not None and spec.deadline_after_s is not None:
        raise InvalidInputError("deadline", "is given twice", remedy="keep deadline or deadline_after_s")
    if spec.deadline is not None:
        message.deadline.CopyFrom(datetime_to_proto(spec.deadline, "deadline"))
    if spec.deadline_after_s is not None:
        message.deadline_after.CopyFrom(duration_to_proto(spec.deadline_after_s, "deadline_after_s"))
    for index, stage in enumerate(spec.stages):
        _add_stage(message, f"stages[{index}]", stage)
    return message


def workflow_from_proto(message: pb.Workflow) -> WorkflowSpec:
    """Decode a workflow; an empty tenant is the default one."""
    due = message.WhichOneof("due")
    return WorkflowSpec(
        app=message.app,
        stages=tuple(_stage_from_proto(index, stage) for index, stage in enumerate(message.stages)),
        tenant=message.tenant or DEFAULT_TENANT,
        slo_class=message.slo_class,
        deadline=datetime_from_proto(message.deadline, "deadline") if due == "deadline" else None,
        deadline_after_s=duration_from_proto(message.deadline_after) if due == "deadline_after" else None,
        priority=message.priority,
        idempotency_key=message.idempotency_key,
        labels=dict(message.labels),
    )


def messages_to_proto(messages: Iterable[ChatMessage]) -> list[pb.ChatMessage]:
    """Encode chat messages."""
    return [pb.ChatMessage(role=message.role, content=message.content) for message in messages]


def messages_from_proto(messages: Iterable[pb.ChatMessage]) -> tuple[ChatMessage, ...]:
    """Decode chat messages."""
    return tuple(ChatMessage(message.role, message.content) for message in messages)


def sampling_to_proto(sampling: Sampling) -> pb.Sampling:
    """Encode sampling parameters; what is None stays unset."""
    return pb.Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop,
        min_tokens=sampling.min_tokens,
        ignore_eos=sampling.ignore_eos,
    )


def sampling_from_proto(message: pb.Sampling) -> Sampling:
    """Decode sampling parameters; what is unset becomes None."""
    if not message.ListFields():
        return _ENGINE_DEFAULTS
    return Sampling(
        temperature=message.temperature if message.HasField("temperature") else None,
        top_p=message.top_p if message.HasField("top_p") else None,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
        min_tokens=message.min_tokens if message.HasField("min_tokens") else None,
        ignore_eos=message.ignore_eos if message.HasField("ignore_eos") else None,
    )


def _encoded(field: str, spec: WorkflowSpec) -> pb.Workflow:
    """Encode all but the due time and the stages."""
    try:
        return pb.Workflow(
            tenant=spec.tenant,
            app=spec.app,
            slo_class=spec.slo_class,
            priority=spec.priority,
            idempotency_key=spec.idempotency_key,
            labels=dict(spec.labels),
        )
    except (ValueError, TypeError) as error:
        raise _unsendable(field, error) from error


def _add_stage(workflow: pb.Workflow, field: str, stage: Stage) -> None:
    """Append one stage to the message."""
    try:
        if isinstance(stage, LlmStage):
            workflow.stages.add(id=stage.id, after=stage.after, llm=_llm_to_proto(stage))
        else:
            workflow.stages.add(id=stage.id, after=stage.after, tool=_tool_to_proto(field, stage))
    except (ValueError, TypeError) as error:
        raise _unsendable(field, error) from error


def _llm_to_proto(stage: LlmStage) -> pb.LlmCall:
    return pb.LlmCall(
        role=stage.role,
        phase=stage.phase,
        models=stage.models,
        messages=messages_to_proto(stage.messages),
        sampling=None if stage.sampling == _ENGINE_DEFAULTS else sampling_to_proto(stage.sampling),
        max_tokens=stage.max_tokens,
        context_policy=_POLICY_NUMBERS[stage.context_policy],
    )


def _tool_to_proto(field: str, stage: ToolStage) -> pb.ToolCall:
    return pb.ToolCall(
        name=stage.name,
        duration=None if stage.duration_s is None else duration_to_proto(stage.duration_s, f"{field}.duration_s"),
        expected=None if stage.expected_s is None else duration_to_proto(stage.expected_s, f"{field}.expected_s"),
    )


def _stage_from_proto(index: int, stage: pb.Stage) -> Stage:
    """Decode one stage by what it does."""
    work = stage.WhichOneof("work")
    if work == "llm":
        call = stage.llm
        return LlmStage(
            id=stage.id,
            role=call.role,
            models=tuple(call.models),
            messages=messages_from_proto(call.messages),
            max_tokens=call.max_tokens,
            after=tuple(stage.after),
            phase=call.phase,
            sampling=sampling_from_proto(call.sampling),
            context_policy=enum_from_proto(_POLICIES, call.context_policy, f"stages[{index}].llm.context_policy"),
        )
    if work == "tool":
        tool = stage.tool
        return ToolStage(
            id=stage.id,
            name=tool.name,
            after=tuple(stage.after),
            duration_s=duration_from_proto(tool.duration) if tool.HasField("duration") else None,
            expected_s=duration_from_proto(tool.expected) if tool.HasField("expected") else None,
        )
    raise InvalidInputError(f"stages[{index}]", f"stage '{stage.id}' does nothing", remedy="set llm or tool")


def _unsendable(field: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(field, f"holds a value that cannot be sent: {error}")
