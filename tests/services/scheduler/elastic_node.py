"""Nodes whose accelerators have elastic KV, answered at once or in virtual time; they refuse what would be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core_driver import Driver, core_config, ready
from service_world import GIB, MIB, call, model

from maestro.fleet import AcceleratorSpec, ClusterSpec, Fleet, GpuBudget, ModelSpec, NetworkSpec, NodeSpec
from maestro.special_tokens import SpecialTokens
from maestro.tokens import estimate_tokens
from maestro.workflow import ChatMessage, WorkflowSpec
from maestro_services.scheduler.core import PromptRules
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_solver.heuristics.dispatch import DISPATCH_POLICIES, URGENCY

NODE = "left-node"
MODEL_BYTES = 3 * GIB
"""What a replica of the service world's models takes."""

FULL_BYTES = 2 * MODEL_BYTES + 10 * MIB
"""Memory that two of them fill, but for 640 tokens of KV."""

PLAN_EVERY_S = 3.0

MODES: Mapping[str, Mapping[str, object]] = {
    **{name: {"dispatch": DISPATCH_POLICIES[name]} for name in ("edf", "fcfs", "lru-swap", "hierarchical")},
    "plans of residency": {"starts": URGENCY},
    "plans of stages": {},
}


def small(name: str = "writer") -> WorkflowSpec:
    """One stage that fits beside two replicas."""
    return WorkflowSpec("essays", (call("only", models=(name,)),), deadline_after_s=300.0)


def large(name: str = "writer") -> WorkflowSpec:
    """One stage that reserves more than two replicas leave."""
    stage = replace(call("only", models=(name,)), messages=(ChatMessage("user", "word " * 1500),))
    return WorkflowSpec("essays", (stage,), deadline_after_s=300.0)


def elastic_fleet(*memory_bytes: int, models: tuple[ModelSpec, ...] = ()) -> Fleet:
    """One node with accelerators gpu-0, gpu-1, ... of these sizes."""
    cards = tuple(
        AcceleratorSpec(f"gpu-{i}", "sim", size, slots=8, kv_elastic=True) for i, size in enumerate(memory_bytes)
    )
    node = NodeSpec(NODE, cards, 8 * GIB, 1e11, 1e11)
    found = {spec.name: spec for spec in models or (model("writer"), model("critic"))}
    return Fleet((ClusterSpec("left", (node,)),), found, NetworkSpec(), GpuBudget(len(cards)))


@dataclass
class Elastic:
    """A core and its only node. Unloads take ``unload_s``, loads 0.3 s, attempts ``attempt_s``."""

    driver: Driver
    unload_s: float = 0.0
    attempt_s: float = 0.1
    held: dict[tuple[str, str], on.ReplicaReport] = field(default_factory=dict)
    running: list[tuple[float, do.ExecuteAttempt]] = field(default_factory=list)
    leaving: list[tuple[float, do.UnloadReplica]] = field(default_factory=list)
    evicted: list[tuple[str, str]] = field(default_factory=list)
    next_plan_s: float = 0.0

    @classmethod
    def of(cls, mode: str, fleet: Fleet | None = None, **changes: float) -> Elastic:
        """The node is up and empty."""
        the_fleet = fleet or elastic_fleet(FULL_BYTES)
        prompts = {name: PromptRules(SpecialTokens(), estimate_tokens) for name in the_fleet.models}
        made = cls(Driver(core_config(fleet=the_fleet, prompts=prompts, **MODES[mode])), **changes)
        made.driver.bring_up(NODE)
        return made

    @property
    def resident(self) -> set[tuple[str, str]]:
        """Accelerator and model of each replica."""
        return set(self.held)

    def go_on(self, seconds: float, step_s: float = 0.5) -> None:
        """Lets time pass, with plans made and commands answered."""
        end_s = self.driver.now + seconds
        while self.driver.now < end_s:
            self.driver.post(on.NodeSeen(NODE))
            if self.driver.now >= self.next_plan_s and self.driver.core.plan_is_due(self.driver.now):
                self.next_plan_s = self.driver.now + PLAN_EVERY_S
                self.driver.plan()
            self.answer()
            self.driver.pass_time(step_s)

    def answer(self) -> None:
        """Takes the commands that were given and ends what is due."""
        driver = self.driver
        for effect in driver.take(do.UnloadReplica):
            assert isinstance(effect, do.UnloadReplica)
            place = (effect.accelerator, effect.model)
            assert place not in {(a.accelerator, a.model) for _, a in self.running}, f"{place} is busy"
            self.leaving.append((driver.now + self.unload_s, effect))
        for effect in driver.take(do.LoadReplica):
            assert isinstance(effect, do.LoadReplica)
            driver.now += 0.3
            self.ready(effect)
        for attempt in driver.attempts():
            self.running.append((driver.now + self.attempt_s, attempt))
            self._check_memory()
        self._end_what_is_due()

    def ready(self, effect: do.LoadReplica) -> None:
        """A load is over."""
        self.held[effect.accelerator, effect.model] = ready(effect)
        self._check_memory()
        self.driver.report(NODE, *self.held.values(), attempts=self._attempts())

    def ended(self, *workflows: str) -> bool:
        """Whether these have ended well."""
        return all(self.driver.stage("only", name).state == "succeeded" for name in workflows)

    def _end_what_is_due(self) -> None:
        driver = self.driver
        for found in [found for found in self.leaving if found[0] <= driver.now]:
            self.leaving.remove(found)
            place = (found[1].accelerator, found[1].model)
            self.evicted.append(place)
            del self.held[place]
            driver.post(on.ReplicaUnloaded(*place, found[1].generation))
        for due in [due for due in self.running if due[0] <= driver.now]:
            self.running.remove(due)
            driver.finish(due[1], after_s=0.0)

    def _attempts(self) -> tuple[on.AttemptReport, ...]:
        return tuple(on.AttemptReport(attempt.attempt_id, running=True) for _, attempt in self.running)

    def _check_memory(self) -> None:
        """No accelerator holds more than it has."""
        models, records = self.driver.config.fleet.models, self.driver.core._state.accelerators
        taken = dict.fromkeys(records, 0)
        for at, name in self.held:
            for member in records[at].members(name):
                taken[member.spec.name] += models[name].resident_share_bytes()
        for _, attempt in self.running:
            for member in records[attempt.accelerator].members(attempt.model):
                taken[member.spec.name] += models[attempt.model].share_bytes(attempt.kv_bytes)
        assert all(taken[name] <= record.spec.memory_bytes for name, record in records.items()), taken
