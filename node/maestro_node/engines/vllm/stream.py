"""Reads what vLLM's OpenAI server sends, and writes what it is asked, as pure functions over its documented JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from maestro.reasons import Reason
from maestro_node.engines.interface import EngineError, EngineUsage, FinishReason, GenerationRequest

_CONTEXT_LIMIT = re.compile(r"maximum context length|max_model_len|maximum model length", re.IGNORECASE)
_METRIC_LINE = re.compile(r"^(?P<name>vllm:\w+)(?:\{[^}]*\})? (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ChunkContent:
    """One event of a streamed completion: any of its parts may be absent."""

    text: str = ""
    has_choice: bool = False
    finish_reason: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def vllm_priority(public_priority: int) -> int:
    """VLLM serves smaller numbers first; here higher is more urgent. The one place where the sign is turned."""
    return -public_priority


def completion_body(request: GenerationRequest, served_name: str) -> dict[str, Any]:
    """The JSON body of a streamed chat completion; unset sampling parameters are left to the engine."""
    sampling = request.sampling
    optional: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "min_tokens": sampling.min_tokens,
        "ignore_eos": sampling.ignore_eos,
    }
    return {
        "model": served_name,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "priority": vllm_priority(request.priority),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in optional.items() if value is not None},
    }


def parse_chunk(data: bytes) -> ChunkContent:
    """Read the JSON of one server-sent event; EngineError (ENGINE_ABORTED) where it reports an error or is no JSON."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise EngineError(
            Reason.ENGINE_ABORTED, f"the engine sent {data[:80]!r}, which is no JSON", retryable=True
        ) from error
    if "error" in content:
        raise EngineError(Reason.ENGINE_ABORTED, _error_message(content), retryable=True)
    usage = content.get("usage") or {}
    choice = next(iter(content.get("choices") or ()), None)
    return ChunkContent(
        text=(choice or {}).get("delta", {}).get("content") or "",
        has_choice=choice is not None,
        finish_reason=(choice or {}).get("finish_reason") or "",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def result_reason(finish_reason: str) -> FinishReason:
    """The ending as a result; EngineError (ENGINE_ABORTED) for an ending that is none, or for no ending at all."""
    try:
        return FinishReason(finish_reason)
    except ValueError:
        said = f'finish_reason "{finish_reason}"' if finish_reason else "no finish_reason"
        raise EngineError(Reason.ENGINE_ABORTED, f"the engine ended the output with {said}", retryable=True) from None


def refusal(status: int, body: bytes) -> EngineError:
    """What an HTTP error of the engine means for an attempt."""
    try:
        message = _error_message(json.loads(body))
    except ValueError:
        message = body[:200].decode(errors="replace")
    if status >= 500:
        return EngineError(Reason.ENGINE_ABORTED, f"the engine answered {status}: {message}", retryable=True)
    if status == 400 and _CONTEXT_LIMIT.search(message):
        return EngineError(Reason.CONTEXT_LIMIT, message, retryable=False)
    return EngineError(Reason.ENGINE_REJECTED, f"the engine answered {status}: {message}", retryable=False)


def parse_usage(metrics: str) -> EngineUsage:
    """Read vLLM's ``/metrics``; a metric that is absent counts as 0, several engines are added up."""
    totals: dict[str, float] = {}
    for line in _METRIC_LINE.finditer(metrics):
        totals[line["name"]] = totals.get(line["name"], 0.0) + float(line["value"])
    return EngineUsage(
        kv_used_fraction=totals.get("vllm:kv_cache_usage_perc", 0.0),
        running_requests=int(totals.get("vllm:num_requests_running", 0)),
        waiting_requests=int(totals.get("vllm:num_requests_waiting", 0)),
    )


def _error_message(content: Any) -> str:
    """The sentence in an error object, in the shapes that vLLM and FastAPI use."""
    error = content.get("error", content) if isinstance(content, dict) else content
    if isinstance(error, dict):
        error = error.get("message", error.get("detail", error))
    return str(error)
