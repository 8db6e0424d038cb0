"""A linear relaxation of who shares the fleet: what all workflows cost together at least.

Time is cut at checkpoints t_1 < ... < t_K. Workflow f completes in bucket k, after t_{k-1} and by t_k, to the share
y_fk; sum_k y_fk = 1. A workflow that completes by t_j must have used a certain energy of every resource by t_k: all of
it for j <= k, and otherwise what its stages cannot put off, each starting no later than t_j less its tail. For every
resource (slots; memory) the energy used by t_k is at most capacity x t_k. A bucket costs what its earliest tick costs.

The memory of a stage is its KV reservation and its share of the weights: at most ``n`` stages of a model run at once
on an accelerator beside one copy of its weights, so each takes at least 1/n of them; a stage that has a choice counts
as the least of all its options. A stage of a tensor-parallel model takes a slot and such memory of each of its
accelerators. Every plan that places all stages is a feasible y.

HiGHS is given the matrix directly: naming every variable for a modelling layer takes longer than solving.
"""

from __future__ import annotations

from typing import Final, Protocol

import highspy
import numpy as np

from maestro_solver.shop.data import NO_PEER, Integers, Reals, Shop

QUICK: Final = 2500
"""About as many shares y are solved in a tenth of a second."""

THOROUGH: Final = 10_000
"""As many take about a second."""

_CHECKPOINTS: Final = (4, 40)
_TOLERANCE: Final = 1e-6
"""Relative error of the solver's optimum."""


class CompletionCosts(Protocol):
    """What a workflow costs at least by the tick at which its last stage ends."""

    @property
    def due(self) -> Integers:
        """The last tick that is on time, by workflow."""

    def at(self, completion: Integers) -> Reals:
        """The cost of every workflow, by its completion (last axis: workflows)."""


def energy_bound(
    shop: Shop, earliest: Integers, costs: CompletionCosts, limit_s: float, shares: int = QUICK
) -> float | None:
    """What all workflows cost together at least, without loads; None if the time limit ended the relaxation.

    ``earliest`` is a lower bound on each workflow's completion; with more ``shares`` time is cut finer.
    """
    if earliest.size == 0:
        return 0.0
    checkpoints = _checkpoints(earliest, costs, shares)
    solver = _relaxation(shop, earliest, costs, checkpoints)
    solver.setOptionValue("time_limit", max(0.01, limit_s))
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    optimum = float(solver.getInfo().objective_function_value)
    return optimum - _TOLERANCE * abs(optimum)


def _checkpoints(earliest: Integers, costs: CompletionCosts, shares: int) -> Integers:
    """Deadlines and earliest completions, thinned to evenly spaced ranks; and two beyond the last."""
    count = min(max(_CHECKPOINTS[0], shares // earliest.size), _CHECKPOINTS[1])
    due = costs.due[costs.due >= earliest]
    moments = np.unique(np.concatenate([due, earliest]))
    ranks = np.linspace(0, moments.size - 1, min(count, moments.size)).round().astype(np.int64)
    last = int(moments[-1])
    checkpoints: Integers = np.unique(np.concatenate([moments[ranks], [last * 5 // 4, last * 3 // 2]]))
    return checkpoints


def _relaxation(shop: Shop, earliest: Integers, costs: CompletionCosts, checkpoints: Integers) -> highspy.Highs:
    """The linear program with one column a possible share y_fk and a last bucket without an end."""
    starts = np.concatenate([[0], checkpoints + 1])
    ends = np.concatenate([checkpoints, [np.iinfo(np.int64).max // 4]])
    cost = np.stack([costs.at(np.maximum(start, earliest)) for start in starts], axis=1)
    workflow, bucket = np.nonzero(ends[None, :] >= earliest[:, None])
    energy = _energy(shop, checkpoints, workflow, ends[bucket])
    capacity = np.array([_most(shop, shop.slots), _most(shop, shop.memory)], dtype=np.float64)
    limits = (capacity[:, None] * checkpoints[None, :]).ravel()
    spent = np.diff(energy.reshape(2, checkpoints.size, -1), axis=1, prepend=0.0).reshape(energy.shape)
    scale = np.repeat(1.0 / np.maximum(capacity * checkpoints[-1], 1.0), checkpoints.size)
    return _solver(cost[workflow, bucket], workflow, spent * scale[:, None], limits * scale)


def _most(shop: Shop, amounts: Integers) -> int:
    """What the accelerators have together of which so many may be in use."""
    count = max(int(shop.budget[-1]), int(shop.base.in_use[-1]))
    return int(np.sort(amounts)[::-1][:count].sum())


def _energy(shop: Shop, checkpoints: Integers, workflow: Integers, completion: Integers) -> Reals:
    """Energy used by each checkpoint at least, by column; shape (resources x checkpoints, columns)."""
    sizes = 1.0 + (shop.peers[shop.option_accelerator, shop.option_model] != NO_PEER).sum(axis=1)
    demand = np.stack([_least_of_options(shop, sizes), _least_of_options(shop, sizes * _memory_demand(shop))])
    duration = shop.stage_tail - shop.stage_rest
    offsets = shop.workflow_stage_offsets
    found = np.zeros((2, checkpoints.size, workflow.size))
    columns_of = np.split(np.arange(workflow.size), np.searchsorted(workflow, np.arange(1, offsets.size - 1)))
    for each, columns in enumerate(columns_of):
        stages = shop.workflow_stages[offsets[each] : offsets[each + 1]]
        latest_start = completion[columns][:, None] - shop.stage_tail[stages][None, :]
        done = checkpoints[:, None, None] - latest_start[None, :, :]
        work = np.clip(done, 0, duration[stages])
        found[:, :, columns] = np.einsum("kcs,rs->rkc", work, demand[:, stages])
    return found.reshape(2 * checkpoints.size, workflow.size)


def _least_of_options(shop: Shop, amounts: Reals) -> Reals:
    """The least of each stage's options; 0 for a tool stage."""
    least = np.zeros(shop.stage_workflow.size)
    places = np.nonzero(np.diff(shop.option_offsets))[0]
    if places.size:
        least[places] = np.minimum.reduceat(amounts, shop.option_offsets[places])
    return least


def _memory_demand(shop: Shop) -> Reals:
    """Memory that each option holds at least of one accelerator, its share of the weights included."""
    g, m = shop.option_accelerator, shop.option_model
    reserved = np.maximum(1, shop.option_kv + shop.option_pool)
    least = np.full(shop.held.shape, np.iinfo(np.int64).max)
    np.minimum.at(least, (g, m), reserved)
    pooled = np.where(shop.pool > 0, shop.pool, shop.memory[:, None] - shop.held)
    at_once = np.minimum(shop.slots[:, None], pooled // least)
    at_once = np.maximum(1, np.where(shop.limited > 0, np.minimum(at_once, shop.batch), at_once))
    demand: Reals = shop.option_kv + shop.held[g, m] / at_once[g, m]
    return demand


def _solver(cost: Reals, workflow: Integers, spent: Reals, limits: Reals) -> highspy.Highs:
    """Columns: the shares in [0, 1], then the energy used by each checkpoint, up to its limit.

    Rows: a workflow's shares sum to 1; then, by resource and checkpoint, what is spent since the checkpoint before is
    at most the difference of the energies used. Differences are sparse, running totals are not.
    """
    shares, totals, workflows = cost.size, limits.size, int(workflow.max()) + 1
    totals_each = totals // 2
    matrix = np.zeros((workflows + totals, shares + totals))
    matrix[workflow, np.arange(shares)] = 1.0
    matrix[workflows:, :shares] = spent
    each = np.arange(totals)
    matrix[workflows + each, shares + each] = -1.0
    later = each[each % totals_each > 0]
    matrix[workflows + later, shares + later - 1] = 1.0
    column, row = np.nonzero(matrix.T)
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = shares + totals, workflows + totals
    program.col_cost_ = np.concatenate([cost, np.zeros(totals)])
    program.col_lower_ = np.zeros(shares + totals)
    program.col_upper_ = np.concatenate([np.ones(shares), limits])
    program.row_lower_ = np.concatenate([np.ones(workflows), np.full(totals, -highspy.kHighsInf)])
    program.row_upper_ = np.concatenate([np.ones(workflows), np.zeros(totals)])
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_ = np.searchsorted(column, np.arange(shares + totals + 1))
    program.a_matrix_.index_ = row
    program.a_matrix_.value_ = matrix[row, column]
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(program)
    return solver
