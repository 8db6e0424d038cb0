"""One life of a node, from its registration to its crash: the real node core with simulated engines under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from maestro.errors import MaestroError
from maestro.fleet import ModelSpec, NodeSpec
from maestro.reasons import Reason
from maestro.snapshot import StageKey
from maestro.status import TokenUsage
from maestro_node.core.attempts import Attempt, AttemptState
from maestro_node.core.node import NodeCore
from maestro_node.core.replica import ReplicaKey
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.simulation.engine_model import EngineModel
from maestro_services.simulation.engines.accelerators import engine_name, simulated
from maestro_services.simulation.engines.request import Request
from maestro_services.simulation.events import EventQueue
from maestro_services.simulation.faults import chosen
from maestro_services.simulation.loads import NodeLoads
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


class NodeLife:
    """Attempts and replicas of one instance of a node. After ``end`` it does and says nothing any more."""

    def __init__(
        self,
        spec: NodeSpec,
        instance: str,
        models: Mapping[str, ModelSpec],
        surroundings: Surroundings,
        random: Random,
    ) -> None:
        """``random`` decides how much loads are off."""
        self.core = NodeCore(spec, models)
        self._spec = spec
        self._instance = instance
        self._models = models
        self._events = surroundings.events
        self._post = surroundings.post
        self._truth_of = surroundings.truth_of
        self._tally = surroundings.tally
        self._recorder = surroundings.recorder
        self._accelerators = simulated(spec, models)
        self._wakeups = dict.fromkeys((engines.name for engines in self._accelerators.values()), float("inf"))
        self._running: dict[str, tuple[do.ExecuteAttempt, float, int]] = {}
        self._loads = NodeLoads(
            self.core,
            self._accelerators,
            models,
            surroundings.engine_model,
            self._events,
            random,
            self._tally,
            post=self._post,
            report=self.report,
            changed=self._record,
        )

    def report(self) -> None:
        """Tells its whole status."""
        replicas = tuple(
            on.ReplicaReport(*r.key, r.phase, r.kv_pool_bytes, load_s=r.load_took_s or 0.0, detail="", peers=r.peers)
            for ledger in self.core.ledgers.values()
            for r in ledger.replicas.values()
        )
        attempts = tuple(
            on.AttemptReport(attempt.id, running=attempt.state is AttemptState.RUNNING)
            for attempt in self.core.attempts
        )
        self._post(on.NodeStatusReported(self._spec.name, self._instance, replicas, attempts))

    def end(self) -> None:
        """The node crashes: requests and engines are gone."""
        self._loads.end()
        for attempt_id in list(self._running):
            self._stop(attempt_id)
        for name, engines in self._accelerators.items():
            for model in list(self.core.ledgers[name].replicas):
                engines.stop(engine_name(name, model), self._events.now)
            if self._recorder is not None:
                self._recorder.memory(self._events.now, name, ())
            self._wakeups[engines.name] = float("inf")

    def break_engine(self, name: str, share: float) -> bool:
        """An engine dies: its attempts fail, and its memory is free once it is wholly gone. False: there is none."""
        replicas = {replica.key.model: replica for replica in self.core.ledgers[name].residents()}
        model = chosen([model for model, replica in replicas.items() if self._loads.has_engine(replica)], share)
        if model is None:
            return False
        key = replicas[model].key
        for attempt_id in self.core.fail(key, "a simulated fault"):
            command = self._stop(attempt_id)
            self._fail(command, Reason.ENGINE_DIED, "a simulated fault", refused=False)
        self._accelerators[name].stop(engine_name(*key[:2]), self._events.now)
        self._loads.fail(key)
        self._wake(name)
        self.report()
        return True

    def carry_out(self, command: do.Effect) -> None:
        """Obeys a command, or refuses it as the node core says."""
        match command:
            case do.ExecuteAttempt():
                self._execute(command)
            case do.LoadReplica():
                self._loads.load(command)
            case do.UnloadReplica():
                self._loads.unload(command)
            case do.SleepReplica():
                self._loads.put_to_sleep(command)
            case do.WakeReplica():
                self._loads.wake(command)
            case do.CancelAttempt():
                self._cancel(command.attempt_id)
            case do.AcknowledgeAttempts():
                self.core.acknowledge(command.attempt_ids)
            case _:
                raise TypeError(f"a node was sent {command}")

    def used_gib_s(self) -> float:
        """The integral of the KV memory in use, GiB seconds."""
        return sum(engines.used_gib_s() for engines in dict.fromkeys(self._accelerators.values()))

    def preemptions(self) -> int:
        """How often a request has lost its KV memory."""
        return sum(engines.all_preemptions() for engines in dict.fromkeys(self._accelerators.values()))

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
        name = engine_name(command.accelerator, command.model)
        self._accelerators[command.accelerator].add(name, request, self._events.now)
        self._record(command.accelerator)
        self._wake(command.accelerator)

    def _fail(self, command: do.ExecuteAttempt, reason: Reason, detail: str, *, refused: bool) -> None:
        failed = on.AttemptFailed(command.key, command.attempt_id, reason, detail, retryable=True, refused=refused)
        self._events.after(0.0, lambda: self._post(failed))

    def _cancel(self, attempt_id: str) -> None:
        if attempt_id not in self._running:
            return
        accelerator = self._running[attempt_id][0].accelerator
        tokens = self._accelerators[accelerator].remove(attempt_id, self._events.now)
        self._stop(attempt_id)
        self.core.end_attempt(attempt_id, AttemptState.FAILED)
        self._events.after(0.0, lambda: self._post(on.AttemptStopped(attempt_id, tokens)))
        self._record(accelerator)
        self._wake(accelerator)

    def _stop(self, attempt_id: str) -> do.ExecuteAttempt:
        """The attempt runs no more, and its reservation is given back."""
        command, started_s, _ = self._running.pop(attempt_id)
        self._tally.count_reservation(command.kv_bytes, self._events.now - started_s)
        return command

    def _wake(self, name: str) -> None:
        """Sees to it that the accelerator, and what is simulated with it, is looked at when something changes next."""
        engines = self._accelerators[name]
        name, at_s = engines.name, engines.next_change_at_s()
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
        first_token_s = None if request.first_token_at_s is None else request.first_token_at_s - started_s
        self._post(on.AttemptFinished(command.key, request.id, "", reason, usage, took_s, first_token_s))

    def _record(self, name: str) -> None:
        """Tells the recorder, where there is one, what takes the accelerator's memory, and of those beside it, now."""
        if self._recorder is None:
            return
        engines = self._accelerators[name]
        for spec in engines.specs:
            residents = sorted(self.core.ledgers[spec.name].residents(), key=lambda replica: replica.key.model)
            taken = [(replica, engines.used_bytes(engine_name(*replica.key[:2]))) for replica in residents]
            self._recorder.memory(self._events.now, spec.name, taken)
