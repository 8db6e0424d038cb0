"""What the simulated engines make of calls that were recorded on real ones, each sent when it was really sent."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from maestro.fleet import AcceleratorSpec, ModelSpec, SpeedCoefficients
from maestro.trace import TraceCall
from maestro_services.simulation.engines.accelerators import SimulatedAccelerators
from maestro_services.simulation.engines.request import Request


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One call on one engine: when it was sent, and when its first and last token came, seconds."""

    model: str
    accelerator: str
    prompt_tokens: int
    output_tokens: int
    sent_s: float
    first_token_s: float
    end_s: float

    @property
    def prefill_s(self) -> float:
        """Time to the first token."""
        return self.first_token_s - self.sent_s

    @property
    def decode_s(self) -> float:
        """Time from the first token to the last one."""
        return self.end_s - self.first_token_s


def engine_calls(calls: Iterable[TraceCall]) -> list[EngineCall]:
    """The calls whose instants are known, in the order in which they were sent."""
    found = []
    for call in calls:
        if None not in (call.arrival_s, call.start_s, call.first_token_s, call.latency_s):
            sent_s = call.arrival_s + call.start_s
            found.append(
                EngineCall(
                    call.model,
                    call.accelerator,
                    call.prompt_tokens,
                    call.completion_tokens,
                    sent_s,
                    call.arrival_s + call.first_token_s,
                    sent_s + call.latency_s,
                )
            )
    return sorted(found, key=lambda call: call.sent_s)


def simulated(
    calls: Sequence[EngineCall], accelerators: dict[str, AcceleratorSpec], models: dict[str, ModelSpec]
) -> list[EngineCall]:
    """The same calls with the instants at which simulated engines would have ended them, without noise."""
    made: list[EngineCall] = list(calls)
    for name, spec in accelerators.items():
        mine = [index for index, call in enumerate(calls) if call.accelerator == name]
        for index, found in zip(mine, _on_one(spec, [calls[index] for index in mine], models), strict=True):
            made[index] = found
    return made


def with_speeds(models: dict[str, ModelSpec], kind: str, speeds: dict[str, SpeedCoefficients]) -> dict[str, ModelSpec]:
    """The models with other speeds on one kind of accelerator."""
    return {
        name: replace(model, speeds={**model.speeds, kind: speeds.get(name, model.speeds[kind])})
        for name, model in models.items()
    }


def _on_one(spec: AcceleratorSpec, calls: Sequence[EngineCall], models: dict[str, ModelSpec]) -> list[EngineCall]:
    engine = SimulatedAccelerators(spec)
    for name in sorted({call.model for call in calls}):
        engine.start(models[name], models[name].kv_pool_bytes)
    requests = [
        Request(str(index), call.prompt_tokens, call.output_tokens, 1.0, 1.0) for index, call in enumerate(calls)
    ]
    arriving = [(call.sent_s, index) for index, call in enumerate(calls)]
    heapq.heapify(arriving)
    ends: dict[int, float] = {}
    while len(ends) < len(calls):
        change_s = engine.next_change_at_s()
        if arriving and (change_s is None or arriving[0][0] <= change_s):
            at_s, index = heapq.heappop(arriving)
            _take(engine, at_s, ends)
            engine.add(calls[index].model, requests[index], at_s)
        elif change_s is not None:
            _take(engine, change_s, ends)
    return [
        replace(call, first_token_s=request.first_token_at_s or ends[index], end_s=ends[index])
        for index, (call, request) in enumerate(zip(calls, requests, strict=True))
    ]


def _take(engine: SimulatedAccelerators, at_s: float, ends: dict[int, float]) -> None:
    for request in engine.advance(at_s):
        ends[int(request.id)] = at_s
