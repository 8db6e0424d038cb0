"""The mixed-integer program of capacity planning, in PuLP, solved by HiGHS.

Sets: groups g of like accelerators, layouts l of a group (models m, each at an operating point), demands d.

Variables
    n_l    in {0, 1, ...}   blocks (single accelerators, of most models) that hold layout l; it is of size_l
    y_lmd  in [0, 1]        share of demand d that is served by the replicas of model m in layout l

Constraints
    sum of size_l / k * n_l over the layouts of g of size k or more <= blocks of g of size k, for each k
                                                              (equal, where models are pinned on g)
    sum of size_l * n_l <= budget, and over a cluster <= its limit
    sum of y_lmd over l <= 1 for each d                       (equal, where all demand must be served)
    sum of needed_lmd * y_lmd over d <= n_l for each (l, m)   no replica is loaded beyond its utilisation
    y_lmd <= n_l where needed_lmd < 1                         implied for whole n, tightens the relaxation

Objectives, one a run: most weighted demand served (maximal sum of weight_d * y_lmd), or fewest accelerators
(minimal sum of size_l * n_l) for a given amount served.

Blocks of one size have none in common, and a larger one is made up of smaller ones, so that counting them is enough.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import highspy
import pulp

from maestro_solver.capacity.data import CapacityProblem
from maestro_solver.capacity.layouts import Layouts

Served = Mapping[tuple[int, str, int], float]
"""Share of a demand (index) that the replicas of a model in a layout (index) serve."""

_TOLERANCE = 1e-6

_NEGLIGIBLE = 1e-9
"""Shares up to this are rounding, not service."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many accelerators may be used: in all, and per cluster (no entry: no limit of its own)."""

    total: int
    per_cluster: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Solution:
    """Values of the variables; ``counts`` is by layout."""

    counts: tuple[int, ...]
    served: Served


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found out.

    ``solution`` None with ``infeasible`` False says only that the time ended. ``bound`` is proven: no solution is
    better than it (infinite where nothing was proven, in the direction of the objective).
    """

    solution: Solution | None
    infeasible: bool
    bound: float


class CapacityModel:
    """One problem under one set of limits; each call builds a program of its own and solves it."""

    def __init__(
        self, problem: CapacityProblem, layouts: Layouts, limits: Limits, remaining_s: Callable[[], float]
    ) -> None:
        """``remaining_s`` tells how much time there is; it is asked when a program is built and about to run."""
        self._remaining_s = remaining_s
        self._problem = problem
        self._layouts = layouts
        self._limits = limits

    def most_served(self, share_of_time: float) -> Outcome:
        """Maximise the weighted share of demand that is served, in a share of the remaining time."""
        program = self._program(pulp.LpMaximize, serve_all=False)
        program.lp.setObjective(self._weighted(program))
        return _solve(program, share_of_time * self._remaining_s())

    def fewest_accelerators(self, share_of_time: float, served_weight: float | None = None) -> Outcome:
        """Minimise accelerators while serving ``served_weight`` (a weighted share; None: all of every demand)."""
        program = self._program(pulp.LpMinimize, serve_all=served_weight is None)
        if served_weight is not None:
            program.lp += self._weighted(program) >= served_weight
        program.lp.setObjective(self._accelerators(program))
        return _solve(program, share_of_time * self._remaining_s(), gap_abs=1 - _TOLERANCE)

    def _program(self, sense: int, *, serve_all: bool) -> _Program:
        program = _Program(pulp.LpProblem("capacity", sense))
        self._add_variables(program)
        self._use_no_accelerator_twice(program)
        self._stay_within_limits(program)
        self._serve_what_is_asked(program, serve_all=serve_all)
        self._load_no_replica_beyond_its_capacity(program)
        return program

    def _add_variables(self, program: _Program) -> None:
        for index, layout in enumerate(self._layouts.layouts):
            available = len(self._layouts.groups[layout.group].blocks[layout.size])
            program.count.append(program.lp.add_variable(f"n_{index}", 0, available, pulp.LpInteger))
            for position, (model, point) in enumerate(layout.points):
                for demand in point.needed:
                    name = f"y_{index}_{position}_{demand}"
                    program.share[index, model, demand] = program.lp.add_variable(name, 0, 1)

    def _use_no_accelerator_twice(self, program: _Program) -> None:
        for index, group in enumerate(self._layouts.groups):
            for size, blocks in group.blocks.items():
                used = self._accelerators(program, {index}, at_least=size)
                if group.traits.pinned:
                    program.lp += used == size * len(blocks)
                else:
                    program.lp += used <= size * len(blocks)

    def _stay_within_limits(self, program: _Program) -> None:
        program.lp += self._accelerators(program) <= self._limits.total
        for cluster, limit in self._limits.per_cluster.items():
            groups = {
                index for index, group in enumerate(self._layouts.groups) if group.traits.limited_cluster == cluster
            }
            program.lp += self._accelerators(program, groups) <= limit

    def _serve_what_is_asked(self, program: _Program, *, serve_all: bool) -> None:
        shares = defaultdict(list)
        for (_, _, index), variable in program.share.items():
            shares[index].append(variable)
        for index, demand in enumerate(self._problem.demands):
            if demand.requests_per_s > 0:
                total = pulp.lpSum(shares[index])
                program.lp += (total == 1) if serve_all else (total <= 1)

    def _load_no_replica_beyond_its_capacity(self, program: _Program) -> None:
        for index, layout in enumerate(self._layouts.layouts):
            for model, point in layout.points:
                shares = {demand: program.share[index, model, demand] for demand in point.needed}
                loads = [needed * shares[demand] for demand, needed in point.needed.items()]
                program.lp += pulp.lpSum(loads) <= program.count[index]
                for demand, needed in point.needed.items():
                    if needed < 1:
                        program.lp += shares[demand] <= program.count[index]

    def _accelerators(
        self, program: _Program, groups: set[int] | None = None, at_least: int = 1
    ) -> pulp.LpAffineExpression:
        """How many accelerators of some groups, or of all, layouts of such a size take."""
        return pulp.lpSum(
            layout.size * count
            for layout, count in zip(self._layouts.layouts, program.count, strict=True)
            if layout.size >= at_least and (groups is None or layout.group in groups)
        )

    def _weighted(self, program: _Program) -> pulp.LpAffineExpression:
        demands = self._problem.demands
        return pulp.lpSum(demands[index].weight * share for (_, _, index), share in program.share.items())


class _Program:
    """A program and its variables: a count a layout, a share a (layout, model, demand)."""

    def __init__(self, lp: pulp.LpProblem) -> None:
        self.lp = lp
        self.count: list[pulp.LpVariable] = []
        self.share: dict[tuple[int, str, int], pulp.LpVariable] = {}


def _solve(program: _Program, limit_s: float, gap_abs: float | None = None) -> Outcome:
    """Run HiGHS on the program for ``limit_s`` seconds at most."""
    maximised = program.lp.sense == pulp.LpMaximize
    unproven = math.inf if maximised else -math.inf
    if not program.count:
        return Outcome(Solution((), {}), infeasible=False, bound=0.0)
    if limit_s <= 0:
        return Outcome(None, infeasible=False, bound=unproven)
    gap_rel = _TOLERANCE if gap_abs is None else 0.0
    # Presolve of HiGHS 1.14 cuts the optimum off now and then: it "proves" half of what can be served.
    solver = pulp.HiGHS(msg=False, timeLimit=limit_s, gapRel=gap_rel, gapAbs=gap_abs, presolve="off")
    program.lp.solve(solver)
    highs = program.lp.solverModel
    status = highs.getModelStatus()
    if status in {highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible}:
        return Outcome(None, infeasible=True, bound=-unproven)  # both objectives are bounded
    info = highs.getInfo()
    bound = -info.mip_dual_bound if maximised else info.mip_dual_bound  # PuLP hands a maximum over as a minimum
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Outcome(None, infeasible=False, bound=bound)
    counts = tuple(round(variable.value()) for variable in program.count)
    served = {key: share for key, variable in program.share.items() if (share := variable.value()) > _NEGLIGIBLE}
    return Outcome(Solution(counts, served), infeasible=False, bound=bound)
