"""A network that loses, delays, repeats and reorders: calls with one answer, and streams in order until they break.

A call is one request and one answer, as of gRPC: its caller gets the answer, the refusal (a typed error of the callee),
or learns after a while that there is no answer. In the last case the request may have arrived all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from lossy_time import VirtualTime

from maestro.errors import MaestroError

Answer = Callable[[Any], None]


class LostError(Exception):
    """There is no answer."""


class Endpoint:
    """Whatever can be called: a node's agent or a scheduler's process. It dies with all calls and streams to it."""

    def __init__(self) -> None:
        self.alive = True
        self.calls: set[Call] = set()
        self.streams: set[Stream] = set()

    def die(self) -> None:
        """As by kill -9; its peers notice."""
        self.alive = False
        for call in list(self.calls):
            call.end(LostError("the peer is gone"))
        for stream in list(self.streams):
            stream.snap()


@dataclass(eq=False)
class Call:
    """A call under way. ``done`` is told once; nothing that comes later counts."""

    network: Network
    done: Answer
    callee: Endpoint | None = None
    over: bool = False

    def answer(self, value: Any) -> None:
        """The callee answers; the answer may be lost on its way."""
        self.network.deliver(lambda: self.end(value), lambda: self.end(LostError("the answer was lost")))

    def end(self, value: Any) -> None:
        """The caller has its answer, or knows that there is none."""
        if not self.over:
            self.over = True
            if self.callee is not None:
                self.callee.calls.discard(self)
            self.done(value)


@dataclass(eq=False)
class Stream:
    """Values from a callee in order, until the stream breaks; ``broken`` is told then."""

    network: Network
    take: Answer
    broken: Callable[[], None]
    callee: Endpoint | None = None
    over: bool = False
    _free_at_s: float = 0.0

    def push(self, value: Any) -> None:
        """The callee sends a value."""
        if self.network.loses():
            self.snap()
        elif not self.over:
            time = self.network.time
            self._free_at_s = max(self._free_at_s, time.now + self.network.delay_s())
            time.later(self._free_at_s - time.now, lambda: None if self.over else self.take(value))

    def snap(self) -> None:
        """The stream breaks, and its follower notices in a while."""
        if not self.over:
            self.leave()
            self.network.time.later(self.network.notice_s(), self.broken)

    def leave(self) -> None:
        """The follower wants nothing more."""
        self.over = True
        if self.callee is not None:
            self.callee.streams.discard(self)


@dataclass
class Network:
    """``loss`` is the share of messages that get lost; while it is 0 nothing is repeated and delays are short.

    Endpoints are found by address: after a restart another one may answer there. Nothing passes to an address that is
    ``cut`` off. ``refusals`` counts the calls that were answered with an error.
    """

    time: VirtualTime
    random: Random
    loss: float
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    refusals: int = 0
    cut: set[str] = field(default_factory=set)

    def call(self, address: str, serve: Callable[[Any, Answer], None], done: Answer) -> Call:
        """Calls the endpoint at an address. ``serve`` runs there with a way to answer; ``done`` gets what comes."""
        call = Call(self, done)
        silent = lambda: call.end(LostError("no answer"))  # noqa: E731 - one thing with one name
        self.deliver(lambda: self._arrive(address, serve, call), silent)
        if self.loss and self.random.random() < self.loss / 2:
            self.time.later(self.delay_s(), lambda: self._arrive(address, serve, call))
        if self.loss and self.random.random() < self.loss:
            self.time.later(self.random.uniform(0.1, 3.0), silent)
        return call

    def stream(self, address: str, subscribe: Callable[[Any, Stream], None], stream: Stream) -> None:
        """Asks the endpoint at an address for a stream of values."""

        def arrive() -> None:
            endpoint = self._reach(address)
            if endpoint is None:
                stream.snap()
            elif not stream.over:
                stream.callee = endpoint
                endpoint.streams.add(stream)
                subscribe(endpoint, stream)

        self.deliver(arrive, stream.snap)

    def deliver(self, arrive: Callable[[], None], lose: Callable[[], None]) -> None:
        """One message on its way."""
        if self.loses():
            self.time.later(self.notice_s(), lose)
        else:
            self.time.later(self.delay_s(), arrive)

    def loses(self) -> bool:
        """Whether the next message is lost."""
        return self.loss > 0.0 and self.random.random() < self.loss

    def delay_s(self) -> float:
        """How long a message takes: mostly little, at times long enough for others to overtake it."""
        slow = self.loss and self.random.random() < 0.15
        return self.random.uniform(0.05, 1.5) if slow else self.random.uniform(0.001, 0.01)

    def notice_s(self) -> float:
        """How long it takes until a loss is noticed."""
        return self.random.uniform(0.01, 2.0) if self.loss else 0.05

    def _reach(self, address: str) -> Endpoint | None:
        endpoint = self.endpoints.get(address)
        return endpoint if endpoint is not None and endpoint.alive and address not in self.cut else None

    def _arrive(self, address: str, serve: Callable[[Any, Answer], None], call: Call) -> None:
        endpoint = self._reach(address)
        if endpoint is None:
            self.time.later(self.notice_s(), lambda: call.end(LostError("unreachable")))
            return
        if not call.over:
            call.callee = endpoint
            endpoint.calls.add(call)
        try:
            serve(endpoint, call.answer)
        except MaestroError as refusal:
            self.refusals += 1
            call.answer(refusal)
