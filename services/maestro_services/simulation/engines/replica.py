"""A simulated replica: one prompt is read at a time, all others of the batch decode together.

Prompts are read first come first served at the model's prefill rate, which slows the decoding of the others. Every
decoding request progresses at the same rate, so one clock per replica (tokens decoded by each) is enough: a request
ends when the clock has gone on by its length, whatever comes and goes meanwhile.

KV memory grows with every token. Where the pool is full, the request that came last is preempted: it loses its KV and
waits in front of those that have not begun, until there is room to read its prompt and output so far again.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from maestro.fleet import ModelSpec
from maestro.performance import slowdown
from maestro_services.simulation.engines.request import Request

_ROUNDING = 1e-9


class SimulatedReplica:
    """The requests of one replica. ``pool_bytes`` is None where the accelerators' free memory is its pool."""

    def __init__(self, model: ModelSpec, kind: str, pool_bytes: int | None, accelerators: tuple[str, ...]) -> None:
        """A replica without requests on those accelerators."""
        self.model = model
        self.pool_bytes = pool_bytes
        self.accelerators = accelerators
        self.used_tokens = 0.0
        self.used_token_s = 0.0
        self.preemptions = 0
        self._speed = model.speeds[kind]
        self._clock = 0.0
        self._requests: dict[str, Request] = {}
        self._waiting: deque[Request] = deque()
        self._reading: deque[Request] = deque()
        self._ends: list[tuple[float, int, Request]] = []
        self._decoding = 0
        self._growth = 0.0
        self._rates = (0.0, 0.0)

    @property
    def busy(self) -> bool:
        """Whether it has any request."""
        return bool(self._requests)

    @property
    def used_bytes(self) -> float:
        """KV memory in use."""
        return self.used_tokens * self.model.kv_bytes_per_token

    @property
    def used_share_bytes(self) -> float:
        """KV memory in use on each of its accelerators."""
        return self.used_bytes / len(self.accelerators)

    @property
    def growth_bytes_per_s(self) -> float:
        """How fast that grows, at the present rates."""
        return self._growth * self._rates[1] * self.model.kv_bytes_per_token

    def add(self, request: Request) -> None:
        """A request arrives."""
        request.prefill_left = self._prefill_work(request, request.prompt_tokens)
        self._requests[request.id] = request
        self._waiting.append(request)

    def remove(self, request_id: str) -> int:
        """A request is dropped; returns the tokens it had produced, 0 where it is not here."""
        request = self._requests.pop(request_id, None)
        if request is None:
            return 0
        tokens = int(self._decoded(request) / request.decode_work)
        if request in self._waiting:
            self._waiting.remove(request)
        else:
            self._leave(request)
        return min(tokens, request.output_tokens)

    def admit(self, free_bytes: float) -> float:
        """Begins to read the prompts of those that wait, in order, while memory lasts; returns what is left of it."""
        while self._waiting:
            request = self._waiting[0]
            tokens = request.prompt_tokens + request.decoded / request.decode_work
            needed = tokens * self.model.kv_bytes_per_token
            if needed > free_bytes and (self._reading or self._decoding):
                break
            self._waiting.popleft()
            self._reading.append(request)
            self.used_tokens += tokens
            free_bytes -= needed
        return free_bytes

    def set_rates(self, active_models: int) -> None:
        """Takes over how many models are at work on the accelerator; to be called after every change."""
        crowding = slowdown(self._speed, 1, active_models)
        step = slowdown(self._speed, max(1, self._decoding), active_models)
        progress = 1.0 - self._speed.prefill_stall if self._reading else 1.0
        self._rates = (self._speed.prefill_tokens_per_s / crowding, progress * self._speed.decode_tokens_per_s / step)

    def next_change_s(self) -> float:
        """Seconds until a prompt has been read or a request has ended, at the present rates."""
        prefill_rate, decode_rate = self._rates
        read_s = self._reading[0].prefill_left / prefill_rate if self._reading else float("inf")
        self._drop_stale()
        end_s = (self._ends[0][0] - self._clock) / decode_rate if self._ends and decode_rate > 0 else float("inf")
        return max(0.0, min(read_s, end_s))

    def advance(self, seconds: float) -> None:
        """Lets time pass at the present rates."""
        prefill_rate, decode_rate = self._rates
        if self._reading:
            self._reading[0].prefill_left -= prefill_rate * seconds
        grown = self._growth * decode_rate * seconds
        self.used_token_s += (self.used_tokens + grown / 2) * seconds
        self.used_tokens += grown
        if self._decoding:
            self._clock += decode_rate * seconds

    def take_ended(self, now_s: float) -> list[Request]:
        """Moves on those whose prompt has been read; returns those that have ended, which leave."""
        while self._reading and self._reading[0].prefill_left <= _ROUNDING * self._reading[0].prompt_tokens:
            request = self._reading.popleft()
            request.first_token_at_s = request.first_token_at_s or now_s
            self._begin_to_decode(request)
        ended = []
        while self._ends and self._ends[0][0] <= self._clock + _ROUNDING * max(1.0, self._clock):
            _, _, request = heappop(self._ends)
            if request.decoding and self._requests.get(request.id) is request:
                del self._requests[request.id]
                self._leave(request)
                ended.append(request)
        return ended

    def preempt_last(self) -> bool:
        """Takes the KV of the request that came last, if another one is left; whether there was one."""
        if self._decoding + len(self._reading) < 2:
            return False
        holding = [r for r in self._requests.values() if r.decoding] + list(self._reading)
        request = max(holding, key=lambda found: found.order)
        decoded = self._decoded(request)
        self._leave(request)
        request.decoded = decoded
        request.prefill_left = self._prefill_work(request, request.prompt_tokens + decoded / request.decode_work)
        self._waiting.appendleft(request)
        self.preemptions += 1
        return True

    def _prefill_work(self, request: Request, tokens: float) -> float:
        """How much there is to read, in tokens: the prompt, and what it takes besides its tokens."""
        return (tokens + self._speed.prefill_overhead_s * self._speed.prefill_tokens_per_s) * request.prefill_work

    def _begin_to_decode(self, request: Request) -> None:
        request.decoding, request.decoded_from = True, self._clock - request.decoded
        self._decoding += 1
        self._growth += 1.0 / request.decode_work
        heappush(self._ends, (request.decoded_from + request.work, request.order, request))

    def _leave(self, request: Request) -> None:
        """Gives back what the request holds."""
        tokens = request.prompt_tokens + self._decoded(request) / request.decode_work
        if request.decoding:
            self._decoding -= 1
            self._growth = self._growth - 1.0 / request.decode_work if self._decoding else 0.0
            request.decoding = False
        else:
            self._reading.remove(request)
        self.used_tokens = max(0.0, self.used_tokens - tokens) if self._decoding or self._reading else 0.0

    def _decoded(self, request: Request) -> float:
        """What the request has decoded, in units of the decode clock."""
        return self._clock - request.decoded_from if request.decoding else request.decoded

    def _drop_stale(self) -> None:
        while self._ends and not (
            self._ends[0][2].decoding and self._ends[0][0] == self._ends[0][2].decoded_from + self._ends[0][2].work
        ):
            heappop(self._ends)
