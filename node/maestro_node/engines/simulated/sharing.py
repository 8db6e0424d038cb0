"""How requests that share accelerators progress, as a pure law over time.

A request first has its prompt read at ``prefill_tokens_per_s``, then decodes. A decode step of a replica with b
decoding requests takes ``(1 + batch_slope * (b - 1)) / decode_tokens_per_s`` seconds and gives each of them one token;
each further replica that is at work on the accelerator stretches both by ``1 + colocation_slope``; a replica that takes
several accelerators is as slow as the busiest of them. Between two changes (a request comes, goes, or begins to decode)
all rates are constant, so progress is exact, whatever the time steps are.
"""

from __future__ import annotations

from dataclasses import dataclass

from maestro.fleet import SpeedCoefficients

_DONE_TOKENS = 1e-9  # rounding of repeated subtraction, in tokens


@dataclass(slots=True)
class _Progress:
    """What is left of one request, tokens."""

    replica: str
    accelerators: frozenset[str]
    speed: SpeedCoefficients
    prefill_left: float
    decoded: float = 0.0

    @property
    def is_decoding(self) -> bool:
        """Whether its prompt has been read."""
        return self.prefill_left <= _DONE_TOKENS


class SharedAccelerators:
    """The requests on the accelerators of one node. Times are seconds on the caller's clock and never go back."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._requests: dict[str, _Progress] = {}

    def add(
        self,
        request: str,
        replica: str,
        accelerators: frozenset[str],
        speed: SpeedCoefficients,
        prompt_tokens: int,
        now_s: float,
    ) -> None:
        """A request begins, on all the accelerators of its replica."""
        self.advance(now_s)
        overhead_tokens = speed.prefill_overhead_s * speed.prefill_tokens_per_s
        self._requests[request] = _Progress(replica, accelerators, speed, prompt_tokens + overhead_tokens)

    def remove(self, request: str, now_s: float) -> None:
        """A request ends or is dropped; nothing happens where it is unknown."""
        self.advance(now_s)
        self._requests.pop(request, None)

    def decoded_tokens(self, request: str) -> int:
        """Tokens that the request has decoded by the time last advanced to."""
        return int(self._requests[request].decoded + _DONE_TOKENS)

    def running(self, replica: str) -> int:
        """Requests of one replica."""
        return sum(item.replica == replica for item in self._requests.values())

    def seconds_until(self, request: str, tokens: int) -> float:
        """Seconds until the request will have decoded ``tokens``, if nothing comes or goes before; 0 where it has."""
        item = self._requests[request]
        prefill_rate, decode_rate = self._rates(item)
        if not item.is_decoding:
            return item.prefill_left / prefill_rate
        return max(0.0, tokens - item.decoded) / decode_rate

    def advance(self, now_s: float) -> None:
        """Let time pass until ``now_s``."""
        while self._now_s < now_s:
            step_s = min(now_s - self._now_s, self._next_change_s())
            self._step(step_s)
            self._now_s = now_s if step_s == now_s - self._now_s else self._now_s + step_s

    def _next_change_s(self) -> float:
        """Seconds until the next request begins to decode; infinite where none is being read."""
        reading = [item for item in self._requests.values() if not item.is_decoding]
        return min((item.prefill_left / self._rates(item)[0] for item in reading), default=float("inf"))

    def _step(self, step_s: float) -> None:
        """Progress at constant rates."""
        rates = {name: self._rates(item) for name, item in self._requests.items()}
        for name, item in self._requests.items():
            prefill_rate, decode_rate = rates[name]
            if item.is_decoding:
                item.decoded += decode_rate * step_s
            else:
                item.prefill_left -= prefill_rate * step_s

    def _rates(self, item: _Progress) -> tuple[float, float]:
        """Prefill and decode tokens per second of a request under the present load."""
        active = max(self._active_replicas(accelerator) for accelerator in item.accelerators)
        batch = sum(other.replica == item.replica and other.is_decoding for other in self._requests.values())
        stretch = 1 + item.speed.colocation_slope * (active - 1)
        batch_stretch = 1 + item.speed.batch_slope * max(0, batch - 1)
        return item.speed.prefill_tokens_per_s / stretch, item.speed.decode_tokens_per_s / (stretch * batch_stretch)

    def _active_replicas(self, accelerator: str) -> int:
        """How many replicas are at work on an accelerator."""
        return len({item.replica for item in self._requests.values() if accelerator in item.accelerators})
