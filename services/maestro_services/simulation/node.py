"""A node in virtual time: the real node core, with simulated engines and links under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from maestro.errors import MaestroError
from maestro.fleet import ModelSpec, NodeSpec
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.status import TokenUsage
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import ReplicaKey
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.engines.accelerator import SimulatedAccelerator
from maestro_services.simulation.engines.link import SharedLink
from maestro_services.simulation.engines.request import Request
from maestro_services.simulation.events import EventQueue
from maestro_services.simulation.recorder import Recorder
from maestro_services.simulation.tally import Tally
from maestro_services.simulation.workload.truth import Truth

Post = Callable[[on.Event], None]
TruthOf = Callable[[StageKey], Truth]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all nodes of a run share. ``truth_of`` tells the true length of a stage, which no scheduler sees.

    ``recorder`` is told how memory is taken; None: nobody is.
    """

    engine_model: EngineModel
    events: EventQueue
    post: Post
    truth_of: TruthOf
    tally: Tally
    recorder: Recorder | None = None


class SimulatedNode:
    """Carries commands out and reports what comes of them, as a node's agent does."""

    def __init__(
        self,
        spec: NodeSpec,
        models: Mapping[str, ModelSpec],
        surroundings: Surroundings,
        seed: int,
    ) -> None:
        """``seed`` decides how much loads are off."""
        self.spec = spec
        self.core = NodeCore(spec, models)
        self._models = models
        self._engine_model = surroundings.engine_model
        self._events = surroundings.events
        self._post = surroundings.post
        self._truth_of = surroundings.truth_of
        self._tally = surroundings.tally
        self._recorder = surroundings.recorder
        self._random = Random(f"{seed}/{spec.name}")  # noqa: S311 - a simulation, no secret
        self._accelerators = {item.name: SimulatedAccelerator(item) for item in spec.accelerators}
        self._wakeups = dict.fromkeys(self._accelerators, float("inf"))
        self._running: dict[str, tuple[do.ExecuteAttempt, float, int]] = {}
        self._disk = SharedLink[ReplicaKey](spec.disk_bytes_per_s)
        self._bus = SharedLink[ReplicaKey](spec.host_to_device_bytes_per_s)

    def register(self) -> None:
        """Announces itself, with the weights of all models on its disk."""
        self._post(on.NodeRegistered(self.spec.name, f"{self.spec.name}/1", "simulated", frozenset(self._models)))
        self.report()

    def report(self) -> None:
        """Tells its whole status."""
        replicas = tuple(
            on.ReplicaReport(
                r.key.accelerator, r.key.model, r.key.generation, r.phase, r.kv_pool_bytes, r.load_took_s or 0.0, ""
            )
            for ledger in self.core.ledgers.values()
            for r in ledger.replicas.values()
        )
        attempts = tuple(
            on.AttemptReport(attempt.id, running=attempt.state is AttemptState.RUNNING)
            for attempt in self.core.attempts
        )
        self._post(on.NodeStatusReported(self.spec.name, f"{self.spec.name}/1", replicas, attempts))

    def carry_out(self, command: do.Effect) -> None:
        """Obeys a command, or refuses it as the node core says."""
        match command:
            case do.ExecuteAttempt():
                self._execute(command)
            case do.LoadReplica():
                self._load(command)
            case do.UnloadReplica():
                self._unload(command)
            case do.CancelAttempt():
                self._cancel(command.attempt_id)
            case do.AcknowledgeAttempts():
                self.core.acknowledge(command.attempt_ids)
            case _:
                raise TypeError(f"a node was sent {command}")

    def used_gib_s(self) -> float:
        """The integral of the KV memory in use, GiB seconds."""
        return sum(accelerator.used_gib_s() for accelerator in self._accelerators.values())

    def preemptions(self) -> int:
        """How often a request has lost its KV memory."""
        return sum(accelerator.all_preemptions() for accelerator in self._accelerators.values())

    def _execute(self, command: do.ExecuteAttempt) -> None:
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            self.core.admit(Attempt(command.attempt_id, key, command.kv_bytes, command.attempt_id))
        except MaestroError as error:
            self._tally.refusals += 1
            self._fail(command, Reason.WAITING_FOR_KV, str(error), refused=True)
            return
        truth = self._truth_of(command.key)
        model = self._models[command.model]
        prompt_tokens = min(truth.prompt_tokens, model.context_tokens - command.max_tokens)
        tokens = max(1, min(truth.output_tokens, command.max_tokens))
        request = Request(command.attempt_id, prompt_tokens, tokens, truth.prefill_factor, truth.decode_factor)
        self._running[command.attempt_id] = (command, self._events.now, tokens)
        self._accelerators[command.accelerator].add(command.model, request, self._events.now)
        self._record(command.accelerator)
        self._wake(command.accelerator)

    def _fail(self, command: do.ExecuteAttempt, reason: Reason, detail: str, *, refused: bool) -> None:
        failed = on.AttemptFailed(command.key, command.attempt_id, reason, detail, retryable=True, refused=refused)
        self._events.after(0.0, lambda: self._post(failed))

    def _cancel(self, attempt_id: str) -> None:
        found = self._running.pop(attempt_id, None)
        if found is None:
            return
        command, started_s, _ = found
        tokens = self._accelerators[command.accelerator].remove(attempt_id, self._events.now)
        self.core.end_attempt(attempt_id, AttemptState.FAILED)
        self._tally.count_reservation(command.kv_bytes, self._events.now - started_s)
        self._events.after(0.0, lambda: self._post(on.AttemptStopped(attempt_id, tokens)))
        self._record(command.accelerator)
        self._wake(command.accelerator)

    def _wake(self, name: str) -> None:
        """Sees to it that the accelerator is looked at when something changes there next."""
        at_s = self._accelerators[name].next_change_at_s()
        if at_s is None:
            self._wakeups[name] = float("inf")
        elif at_s != self._wakeups[name]:
            self._wakeups[name] = at_s
            self._events.at(at_s, lambda: self._look_at(name, at_s))

    def _look_at(self, name: str, at_s: float) -> None:
        if self._wakeups[name] != at_s:
            return  # something has come or gone since
        self._wakeups[name] = float("inf")
        ended = self._accelerators[name].advance(self._events.now)
        self._wake(name)
        for request in ended:
            self._finish(request)

    def _finish(self, request: Request) -> None:
        command, started_s, tokens = self._running.pop(request.id)
        took_s = self._events.now - started_s
        self.core.end_attempt(request.id, AttemptState.FINISHED)
        whole = self._truth_of(command.key).output_tokens
        model = self._models[command.model]
        used_bytes = (request.prompt_tokens + tokens) * model.kv_bytes_per_token
        self._tally.count_reservation(command.kv_bytes, took_s)
        self._tally.count_call(request.prompt_tokens, tokens, overflowed=used_bytes > command.kv_bytes)
        self._record(command.accelerator)
        reason = "length" if whole > tokens else "stop"
        usage = TokenUsage(request.prompt_tokens, tokens)
        self._post(on.AttemptFinished(command.key, request.id, "", reason, usage, took_s))

    def _load(self, command: do.LoadReplica) -> None:
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            begun = self.core.begin_load(key, command.kv_pool_bytes, self._events.now)
        except MaestroError:
            self._tally.refusals += 1
            refused = on.ReplicaCommandRefused(command.accelerator, command.model, command.generation)
            self._events.after(0.0, lambda: self._post(refused))
            return
        if begun:
            self._tally.cold_starts += 1
            factor = self._random.lognormvariate(0.0, self._engine_model.load_noise)
            size_bytes = self._models[command.model].weights_bytes * factor
            self._disk.begin(key, size_bytes, self._events.now)
            self._record(key.accelerator)
            self._watch_disk()

    def _watch_disk(self) -> None:
        at_s = self._disk.next_end_at_s()
        if at_s is not None:
            self._events.at(at_s, self._look_at_disk)

    def _look_at_disk(self) -> None:
        for key in self._disk.advance(self._events.now):
            self._bus.begin(key, self._models[key.model].weights_bytes, self._events.now)
            self._watch_bus()
        self._watch_disk()

    def _watch_bus(self) -> None:
        at_s = self._bus.next_end_at_s()
        if at_s is not None:
            self._events.at(at_s, self._look_at_bus)

    def _look_at_bus(self) -> None:
        for key in self._bus.advance(self._events.now):
            kind = self._accelerators[key.accelerator].spec.kind
            factor = self._random.lognormvariate(0.0, self._engine_model.load_noise)
            start_s = self._models[key.model].speeds[kind].start_s * factor
            self._events.after(start_s, lambda key=key: self._become_ready(key))  # type: ignore[misc]
        self._watch_bus()

    def _become_ready(self, key: ReplicaKey) -> None:
        self.core.mark_ready(key, self._events.now)
        replica = self.core.replica(key)
        self._tally.load_s += replica.load_took_s or 0.0
        self._accelerators[key.accelerator].start(self._models[key.model], replica.kv_pool_bytes)
        self._record(key.accelerator)
        self.report()

    def _unload(self, command: do.UnloadReplica) -> None:
        key = ReplicaKey(command.accelerator, command.model, command.generation)
        try:
            begun = self.core.begin_unload(key)
        except MaestroError:
            self._tally.refusals += 1
            refused = on.ReplicaCommandRefused(command.accelerator, command.model, command.generation)
            self._events.after(0.0, lambda: self._post(refused))
            return
        if begun:
            self._tally.swaps += 1
            self._accelerators[key.accelerator].stop(key.model, self._events.now)
            self._record(key.accelerator)
            self._events.after(self._engine_model.unload_s, lambda: self._unloaded(key))

    def _unloaded(self, key: ReplicaKey) -> None:
        if self.core.replica(key).phase is ReplicaPhase.DRAINING:
            self.core.finish_unload(key)
            self._record(key.accelerator)
            self._post(on.ReplicaUnloaded(*key))

    def _record(self, name: str) -> None:
        """Tells the recorder, where there is one, what the accelerator's memory is taken by now."""
        if self._recorder is not None:
            engines, replicas = self._accelerators[name], self.core.ledgers[name].replicas
            taken = [(replica, engines.used_bytes(model)) for model, replica in sorted(replicas.items())]
            self._recorder.memory(self._events.now, name, taken)
