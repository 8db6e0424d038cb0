"""A node's agent in virtual time: the real node core, and engines that take their time, fail and die."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random

from lossy_network import Answer, Endpoint, Stream
from lossy_store import Witness
from lossy_time import VirtualTime

from maestro.fleet import ModelSpec, NodeSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase
from maestro.status import TokenUsage
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.refusals import StaleCommandError, UnknownAttemptError
from maestro_node.core.replica import Replica, ReplicaKey
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core.outcome import ExecuteAttempt

LONGEST_RUN_S = 8.0
"""No attempt runs longer, no load or unload takes longer."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How an attempt ended; ``reason`` is None for a result."""

    output: str
    tokens: int
    seconds: float
    reason: Reason | None = None


@dataclass
class Run:
    """An attempt on its engine, and those who follow it."""

    prompt: str
    end: RunEnd | None = None
    followers: list[Answer] = field(default_factory=list)

    def follow(self, answer: Answer) -> None:
        """Tells the end when it has come."""
        if self.end is not None:
            answer(self.end)
        else:
            self.followers.append(answer)

    def conclude(self, end: RunEnd) -> None:
        """Keeps the first end."""
        if self.end is None:
            self.end = end
            for answer in self.followers:
                answer(end)


@dataclass
class Engines:
    """How engines behave: ``faulty`` is the share of starts and runs that fail."""

    witness: Witness
    faulty: float


class LossyNode(Endpoint):
    """One instance of a node's agent. After :meth:`die` nothing of it is left; the next instance knows nothing."""

    def __init__(
        self,
        spec: NodeSpec,
        models: dict[str, ModelSpec],
        instance_id: str,
        time: VirtualTime,
        random: Random,
        engines: Engines,
    ) -> None:
        super().__init__()
        self.instance_id = instance_id
        self.core = NodeCore(spec, models)
        self._models = models
        self._time = time
        self._random = random
        self._engines = engines
        self._runs: dict[str, Run] = {}
        self._stopping: dict[ReplicaKey, list[Answer]] = {}
        self._failing: set[ReplicaKey] = set()
        self._news = False

    def watch(self, stream: Stream) -> None:
        """The whole status now and after every change."""
        stream.push(self.status())

    def hear_of(self, epoch: int) -> None:
        """A scheduler has told its epoch, which is obeyed from now on."""
        version = self.core.version
        with suppress(StaleCommandError):
            self.core.obey(epoch)
        if self.core.version != version:
            self.notify()

    def load(self, epoch: int, key: ReplicaKey, pool_bytes: int, peers: tuple[str, ...], answer: Answer) -> None:
        """Begins to load; answers at once."""
        self.core.obey(epoch)
        if self.core.begin_load(key, pool_bytes, self._time.now, peers):
            start_s = self._models[key.model].speeds["sim"].start_s
            seconds = min(LONGEST_RUN_S, start_s * self._random.choice((0.5, 1.0, 1.0, 4.0)))
            broken = self._random.random() < self._engines.faulty
            self._later(seconds, lambda: self.break_down(key) if broken else self._become_ready(key))
            self.notify()
        answer(None)

    def unload(self, epoch: int, key: ReplicaKey, answer: Answer) -> None:
        """Stops an idle replica; answers once its memory is free."""
        self.core.obey(epoch)
        if not self.core.begin_unload(key):
            self.notify()
            answer(None)
        elif key in self._stopping:
            self._stopping[key].append(answer)
        else:
            self._stopping[key] = [answer]
            if key not in self._failing:
                self._later(self._random.choice((0.05, 0.2, 3.0)), lambda: self._unloaded(key))
            self.notify()

    def execute(self, epoch: int, command: ExecuteAttempt, answer: Answer) -> None:
        """Starts an attempt, once per id, and answers with its end."""
        self.core.obey(epoch)
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        prompt = repr((command.messages, command.max_tokens, command.sampling))
        if self.core.admit(Attempt(command.attempt_id, key, command.kv_bytes, f"{key} {prompt} {command.kv_bytes}")):
            self._engines.witness.see_begun(command.attempt_id)
            self._runs[command.attempt_id] = Run(prompt)
            seconds = self._random.choice((0.05, 0.1, 0.2, 0.5, 1.0, 3.0))
            broken = self._random.random() < self._engines.faulty
            self._later(seconds, lambda: self._end(command.attempt_id, seconds, broken=broken))
            self.notify()
        self._runs[command.attempt_id].follow(answer)

    def reattach(self, epoch: int, attempt_id: str, answer: Answer) -> None:
        """Answers with the end of a known attempt."""
        self.core.obey(epoch)
        self._runs[self.core.attempts.find(attempt_id).id].follow(answer)

    def acknowledge(self, epoch: int, attempt_ids: tuple[str, ...], answer: Answer) -> None:
        """Forgets ended attempts."""
        self.core.obey(epoch)
        for attempt_id in self.core.acknowledge(attempt_ids):
            del self._runs[attempt_id]
        self.notify()
        answer(None)

    def cancel(self, epoch: int, attempt_id: str, answer: Answer) -> None:
        """Stops a running attempt; answers with how many tokens it came to."""
        self.core.obey(epoch)
        if self.core.attempts.was_forgotten(attempt_id):
            answer(0)
            return
        if attempt_id not in self._runs:
            raise UnknownAttemptError(attempt_id)
        self._fail(attempt_id, Reason.CANCELLED_BY_CLIENT)
        answer(3)

    def break_down(self, key: ReplicaKey) -> None:
        """The engine dies; its attempts fail at once, its memory is free when it is wholly gone."""
        replica = self.core.ledgers[key.accelerator].replicas.get(key.model)
        alive = replica is not None and replica.key == key
        if alive and replica is not None and replica.phase in {ReplicaPhase.LOADING, ReplicaPhase.READY}:
            self._failing.add(key)
            for attempt_id in self.core.fail(key, "the engine died"):
                self._runs[attempt_id].conclude(RunEnd("", 0, 0.0, Reason.ENGINE_DIED))
            self._later(self._random.choice((0.05, 1.0)), lambda: self._wholly_gone(key))
            self.notify()

    def replicas(self) -> list[Replica]:
        """All replicas."""
        return [replica for ledger in self.core.ledgers.values() for replica in ledger.replicas.values()]

    def notify(self) -> None:
        """Tells the watchers in a moment, once for all changes until then."""
        if not self._news:
            self._news = True
            self._later(0.001, self._tell)

    def status(self) -> on.NodeStatusReported:
        """The whole status, as the scheduler reads it off the wire."""
        return on.NodeStatusReported(
            self.core.spec.name,
            self.instance_id,
            tuple(self._report(replica) for replica in self.replicas()),
            tuple(on.AttemptReport(a.id, running=a.state is AttemptState.RUNNING) for a in self.core.attempts),
        )

    def _report(self, replica: Replica) -> on.ReplicaReport:
        loading = replica.phase is ReplicaPhase.LOADING
        load_s = self._time.now - replica.load_began_s if loading else replica.load_took_s or 0.0
        report = on.ReplicaReport(*replica.key, replica.phase, replica.kv_pool_bytes, load_s, replica.detail)
        return replace(report, peers=replica.peers)

    def _later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Has something done, unless the instance is dead by then."""
        self._time.later(delay_s, lambda: what() if self.alive else None)

    def _tell(self) -> None:
        self._news = False
        for stream in list(self.streams):
            stream.push(self.status())

    def _become_ready(self, key: ReplicaKey) -> None:
        replica = self.core.ledgers[key.accelerator].replicas.get(key.model)
        if replica is not None and replica.key == key and replica.phase is ReplicaPhase.LOADING:
            self.core.mark_ready(key, self._time.now)
            self.notify()

    def _unloaded(self, key: ReplicaKey) -> None:
        self.core.finish_unload(key)
        self._answer_unloads(key)

    def _wholly_gone(self, key: ReplicaKey) -> None:
        self.core.finish_failure(key)
        self._failing.discard(key)
        if key in self._stopping:
            self.core.begin_unload(key)
        self._answer_unloads(key)

    def _answer_unloads(self, key: ReplicaKey) -> None:
        for answer in self._stopping.pop(key, []):
            answer(None)
        self.notify()

    def _end(self, attempt_id: str, seconds: float, *, broken: bool) -> None:
        run = self._runs.get(attempt_id)
        if run is None or run.end is not None:
            return
        if broken:
            self._fail(attempt_id, Reason.ENGINE_ABORTED)
            return
        output = f"what {attempt_id} says <|im_end|> {len(run.prompt)}"
        self._engines.witness.outputs[attempt_id] = output
        self.core.end_attempt(attempt_id, AttemptState.FINISHED)
        run.conclude(RunEnd(output, len(output) // 4, seconds))
        self.notify()

    def _fail(self, attempt_id: str, reason: Reason) -> None:
        run = self._runs[attempt_id]
        if run.end is None:
            self.core.end_attempt(attempt_id, AttemptState.FAILED)
            run.conclude(RunEnd("", 0, 0.0, reason))
            self.notify()


def finished(key: on.StageKey, attempt_id: str, end: RunEnd) -> on.AttemptFinished | on.AttemptFailed:
    """An attempt's end as the event that the scheduler makes of it."""
    if end.reason is None:
        usage = TokenUsage(20, end.tokens)
        return on.AttemptFinished(key, attempt_id, end.output, "stop", usage, end.seconds)
    retryable = end.reason is not Reason.CANCELLED_BY_CLIENT
    return on.AttemptFailed(key, attempt_id, end.reason, "it broke", retryable=retryable)
