"""What survives a power failure of a scheduler: transitions and facts, in order, a while after they were written."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from maestro.status import StageState
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro_services.scheduler.core import outcome as do
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.recovery import recovered_workflow
from maestro_services.scheduler.store import StoredWorkflow
from maestro_services.scheduler.wire import transition_to_wire


@dataclass
class Witness:
    """Who saw everything: each attempt's command, the attempts that engines have begun, and what they wrote."""

    sent: dict[str, do.ExecuteAttempt] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    outputs: dict[str, str] = field(default_factory=dict)

    def see_sent(self, command: do.ExecuteAttempt) -> None:
        """No attempt's id is used for two commands."""
        assert self.sent.setdefault(command.attempt_id, command) == command, f"{command.attempt_id} was sent twice"

    def see_begun(self, attempt_id: str) -> None:
        """No attempt runs twice, wherever."""
        assert attempt_id not in self.begun, f"{attempt_id} runs a second time"
        self.begun.add(attempt_id)


@dataclass
class LossyStore:
    """Keeps what the real store keeps, in wire form, and gives it back as recovery does."""

    witness: Witness
    epoch: int = 0
    sequence: int = 0
    predictor: dict[str, bytes] = field(default_factory=dict)
    drained: bytes = b"[]"
    accepted: dict[str, StoredWorkflow] = field(default_factory=dict)
    ended: dict[str, do.WorkflowEnded] = field(default_factory=dict)
    results: dict[tuple[str, str], do.StageChanged] = field(default_factory=dict)

    def begin_epoch(self) -> int:
        """A new epoch, larger than any before it."""
        self.epoch += 1
        return self.epoch

    def commit(self, outcome: do.Outcome) -> None:
        """One outcome becomes durable. No stage has two results, no workflow ends twice."""
        for transition in outcome.transitions:
            assert transition.sequence > self.sequence, "transitions are out of order"
            self.sequence = transition.sequence
            wire = scheduler_pb2.WatchWorkflowResponse.FromString(transition_to_wire(transition).SerializeToString())
            match transition:
                case do.WorkflowAccepted():
                    self.accepted[transition.status.id] = StoredWorkflow(transition.payload, wire.workflow, {})
                case do.WorkflowEnded():
                    assert transition.status.id not in self.ended, f"{transition.status.id} ended twice"
                    self.ended[transition.status.id] = transition
                case do.StageChanged():
                    self._change(transition, wire.stage)
        for effect in outcome.effects:
            match effect:
                case do.SavePredictor(name, value):
                    self.predictor[name] = orjson.dumps(value)
                case do.SaveDrainedNodes(nodes):
                    self.drained = orjson.dumps(sorted(nodes))

    def active(self) -> list[RestoredWorkflow]:
        """Every workflow that was accepted and has not ended, by the code of the real recovery."""
        return [recovered_workflow(stored) for name, stored in self.accepted.items() if name not in self.ended]

    def _change(self, changed: do.StageChanged, stage: workflow_pb2.StageStatus) -> None:
        assert changed.workflow_id not in self.ended, f"{changed.workflow_id} changes after its end"
        stages = self.accepted[changed.workflow_id].stages
        name = (changed.workflow_id, changed.status.id)
        assert name not in self.results, f"{name} changes after its result"
        if changed.status.state is StageState.SUCCEEDED:
            attempt_id = changed.status.attempt_id
            assert not attempt_id or changed.status.output == self.witness.outputs[attempt_id], "nobody wrote that"
            self.results[name] = changed
        stages[changed.status.id] = stage
