"""A core instance on an integer grid, a plan for it, and what the plan costs.

Times are whole ticks and memory is whole units of ``MEMORY_UNIT_GIB``, so that every part of the planner (list
scheduler, exact model, bounds) computes on equal numbers. What does not fall on the grid is rounded to the safe side:
demands and durations up, capacities and deadlines down. The cost is computed from the true seconds.

All arrays are numpy int64 (float64 where the name ends in ``_s`` or says weight), C-contiguous and never written to
after construction. Index spaces: stages, workflows, models, accelerators, clusters, each in the order of the document;
stages are listed after their predecessors. Lists per stage or per workflow are in compressed sparse rows: the entries
of row ``i`` are ``values[offsets[i] : offsets[i + 1]]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Flags = NDArray[np.bool_]

MEMORY_UNIT_GIB: Final = 1.0 / 1024.0
"""Memory is counted in MiB."""

_UNIT_SLACK: Final = 1e-3
"""A binary fraction that should be whole is not rounded away; the format tolerates a hundred times as much a device."""

TIME_TOLERANCE_S: Final = 1e-6
"""A workflow is late if it completes more than this after its deadline; the format's own tolerance."""

OPEN_END: Final = 2**62
"""End of a residency that is never evicted, in ticks."""


def memory_units_up(gib: float) -> int:
    """The memory that a demand takes, on the grid."""
    return math.ceil(gib / MEMORY_UNIT_GIB - _UNIT_SLACK)


def memory_units_down(gib: float) -> int:
    """The memory that a device offers, on the grid."""
    return math.floor(gib / MEMORY_UNIT_GIB + _UNIT_SLACK)


@dataclass(frozen=True)
class ObjectiveWeights:
    """Weights of the objective's terms. ``swap`` is per second of loading, ``tardy`` and ``latency`` per second."""

    late: float
    tardy: float
    tardy_cap_s: float
    latency: float
    swap: float


@dataclass(frozen=True)
class CoreProblem:
    """One instance; see the module's docstring for units, index spaces and the layout of lists."""

    stage_names: tuple[str, ...]
    workflow_names: tuple[str, ...]
    model_names: tuple[str, ...]
    accelerator_names: tuple[str, ...]
    tick_s: float
    network_delay: int
    """Ticks between a stage's end and the start of its successor on another cluster."""

    stage_workflow: Integers
    stage_model: Integers
    stage_duration: Integers
    """Ticks, at least 1."""
    stage_duration_s: Reals
    stage_kv: Integers
    stage_tail: Integers
    """Longest path of durations from the stage to its workflow's end, itself included, without network delay."""
    predecessor_offsets: Integers
    predecessors: Integers
    successor_offsets: Integers
    successors: Integers

    accelerator_cluster: Integers
    accelerator_memory: Integers
    accelerator_slots: Integers
    initially_resident: Flags
    """Shape (accelerators, models)."""

    model_weights: Integers
    model_load: Integers
    """Ticks from the start of a load until the model is ready."""
    model_load_s: Reals
    """True seconds of a load, which is what a swap costs."""

    workflow_deadline: Integers
    """The last tick at which completing is on time; may be negative."""
    workflow_deadline_s: Reals
    workflow_weight: Reals
    workflow_stage_offsets: Integers
    workflow_stages: Integers
    """Stages of each workflow, in the order of the document."""

    objective: ObjectiveWeights

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.stage_names)

    @property
    def workflows(self) -> int:
        """Number of workflows."""
        return len(self.workflow_names)

    @property
    def models(self) -> int:
        """Number of models."""
        return len(self.model_names)

    @property
    def accelerators(self) -> int:
        """Number of accelerators."""
        return len(self.accelerator_names)

    def predecessors_of(self, stage: int) -> Integers:
        """Stages that must end before this one starts."""
        return self.predecessors[self.predecessor_offsets[stage] : self.predecessor_offsets[stage + 1]]

    def successors_of(self, stage: int) -> Integers:
        """Stages that wait for this one."""
        return self.successors[self.successor_offsets[stage] : self.successor_offsets[stage + 1]]

    def stages_of(self, workflow: int) -> Integers:
        """Stages of one workflow, predecessors first."""
        return self.workflow_stages[self.workflow_stage_offsets[workflow] : self.workflow_stage_offsets[workflow + 1]]


@dataclass(frozen=True)
class CorePlan:
    """Where and when every stage runs (one entry a stage) and what is resident where (one entry a residency row).

    ``residency_end`` is ``OPEN_END`` for a model that is never evicted. An initial row starts at tick 0, is ready at
    once, and costs nothing; every other row is a load that starts at ``residency_load_start``.
    """

    accelerator: Integers
    start: Integers
    residency_accelerator: Integers
    residency_model: Integers
    residency_load_start: Integers
    residency_end: Integers
    residency_initial: Flags


@dataclass(frozen=True)
class Terms:
    """The objective of a plan, term by term; ``late_workflows`` counts those that miss their deadline."""

    late: float
    tardy: float
    latency: float
    swap: float
    late_workflows: int

    @property
    def objective(self) -> float:
        """The sum of the terms, which is minimised."""
        return self.late + self.tardy + self.latency + self.swap


def completions_s(problem: CoreProblem, plan: CorePlan) -> Reals:
    """The instant at which each workflow's last stage ends, seconds."""
    done = np.zeros(problem.workflows)
    np.maximum.at(done, problem.stage_workflow, plan.start * problem.tick_s + problem.stage_duration_s)
    return done


def cost(problem: CoreProblem, plan: CorePlan) -> Terms:
    """What the plan costs, from true seconds: late, tardy up to the cap, latency, and seconds of loading."""
    weights = problem.objective
    done = completions_s(problem, plan)
    late = done > problem.workflow_deadline_s + TIME_TOLERANCE_S
    tardiness = np.clip(done - problem.workflow_deadline_s, 0.0, weights.tardy_cap_s)
    loaded_s = problem.model_load_s[plan.residency_model[~plan.residency_initial]].sum()
    return Terms(
        late=float(weights.late * (problem.workflow_weight * late).sum()),
        tardy=float(weights.tardy * (problem.workflow_weight * tardiness).sum()),
        latency=float(weights.latency * (problem.workflow_weight * done).sum()),
        swap=float(weights.swap * loaded_s),
        late_workflows=int(late.sum()),
    )
