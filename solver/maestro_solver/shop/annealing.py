"""Ruin and recreate: take a few workflows off the schedule, insert them again in another order, anneal on the cost.

A move touches a handful of workflows, so it costs microseconds where decoding a whole order costs milliseconds. What
a move frees is taken by what it inserts; every so often the whole schedule is decoded again in an order close to
its own, which closes the gaps that are left. Source of the scheme: Schrimpf et al. 2000, Record breaking optimization
results using the ruin and recreate principle; Christiaens and Vanden Berghe 2020, Slack induction by string removals.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from maestro_solver.shop.compiled import compiled, compiled_part, constant
from maestro_solver.shop.data import Integers, Reals, Shop, Timeline
from maestro_solver.shop.decoder import decode, decode_whole, workflow_cost
from maestro_solver.shop.removal import remove_stage
from maestro_solver.shop.timeline import copy, like, timeline_at

CURRENT: Final = constant(0)
CANDIDATE: Final = constant(1)
BEST: Final = constant(2)

MOST_WORKFLOWS: Final = 8
"""The largest number of workflows that one move takes off."""

LEAST_MOVES_BETWEEN_WHOLE_DECODES: Final = 10

STAGES_PER_WHOLE_DECODE: Final = 16
"""Whole decodes are rarer the longer they take: one in (stages / this) moves."""

WHOLE_BY_START: Final = 0.5
"""Share of whole decodes in the order of starts; the others go by the latest start."""

WHOLE_SHIFTED: Final = 0.3
"""The largest share of workflows that a whole decode shifts."""

LEAST_GAIN: Final = 1e-6
"""What counts as better, above the noise of adding and subtracting costs."""

BEHIND: Final = 1.0e9
"""Added to the key of a workflow that is inserted behind all others."""

FIRST: Final = 1.0e12
"""Taken from the key of a stage that goes before all others."""


class Annealer(NamedTuple):
    """A search's state: three schedules (current, candidate, best) and what is known of each, and room to work in."""

    lines: Timeline
    completion: Integers
    """Shape (3, workflows), ticks."""
    cost: Reals
    """Shape (3,)."""
    wanted: Reals
    """Shape (2, workflows): the deadlines that the key search pretends, of the current and the candidate draft."""
    work: Reals
    """Each workflow's total duration per weight."""
    chosen: Integers
    """Workflows that the move takes off, the first one being the reason for it."""
    pending: Integers
    """Their stages, in the order in which they are inserted."""
    key: Reals
    """Keys of the pending stages."""
    counts: Integers
    """Moves tried, accepted, improving the best; whole decodes tried."""


def new_annealer(shop: Shop) -> Annealer:
    """Room for one search."""
    stages, workflows = shop.stage_workflow.size, shop.deadline.size
    work = np.zeros(workflows)
    np.add.at(work, shop.stage_workflow, shop.stage_tail - shop.stage_rest)
    return Annealer(
        lines=like(shop, 3),
        completion=np.zeros((3, workflows), dtype=np.int64),
        cost=np.full(3, np.inf),
        wanted=np.zeros((2, workflows)),
        work=work / np.maximum(shop.weight, 1e-6),
        chosen=np.zeros(MOST_WORKFLOWS, dtype=np.int64),
        pending=np.zeros(stages, dtype=np.int64),
        key=np.zeros(stages),
        counts=np.zeros(4, dtype=np.int64),
    )


@compiled_part
def anneal(shop: Shop, search: Annealer, moves: int, temperature: float) -> None:
    """Try that many moves; the best schedule so far is at index BEST of ``search.lines``, its cost of ``search.cost``.

    A move is kept if it costs at most ``temperature`` times an exponential random number more than the current
    schedule.
    """
    keep(search, CURRENT, CANDIDATE)
    whole = search.pending.size // STAGES_PER_WHOLE_DECODE + LEAST_MOVES_BETWEEN_WHOLE_DECODES
    for _ in range(moves):
        limit = search.cost[CURRENT] - temperature * np.log(1.0 - np.random.random())
        search.counts[0] += 1
        if search.counts[0] % whole == 0:
            _decode_again(shop, search, limit)
        else:
            _recreate(shop, search, _ruin(shop, search), limit)
        if search.cost[CANDIDATE] <= limit:
            search.counts[1] += 1
            keep(search, CANDIDATE, CURRENT)
            if search.cost[CURRENT] < search.cost[BEST] - LEAST_GAIN:
                search.counts[2] += 1
                keep(search, CURRENT, BEST)
        else:
            keep(search, CURRENT, CANDIDATE)


@compiled
def adopt(leader: Annealer, search: Annealer) -> None:
    """Let a search go on from the leader's best schedule, unless its own current one is as good."""
    if leader.cost[BEST] < search.cost[CURRENT] - LEAST_GAIN:
        copy(timeline_at(leader.lines, BEST), timeline_at(search.lines, CURRENT))
        search.completion[CURRENT] = leader.completion[BEST]
        search.cost[CURRENT] = leader.cost[BEST]
        if search.cost[CURRENT] < search.cost[BEST]:
            keep(search, CURRENT, BEST)


@compiled_part
def keep(search: Annealer, source: int, target: int) -> None:
    """Make one of the search's schedules equal to another."""
    copy(timeline_at(search.lines, source), timeline_at(search.lines, target))
    search.completion[target] = search.completion[source]
    search.cost[target] = search.cost[source]


@compiled_part
def _decode_again(shop: Shop, search: Annealer, limit: float) -> None:
    """The candidate is the current schedule, decoded as a whole in an order close to its own."""
    search.counts[3] += 1
    line, completion = timeline_at(search.lines, CANDIDATE), search.completion[CANDIDATE]
    _key_by_schedule(shop, search, line.start, completion)
    order = np.argsort(search.key, kind="mergesort")
    search.cost[CANDIDATE] = decode_whole(shop, line, order, some_patience(), completion, limit)


@compiled_part
def _key_by_schedule(shop: Shop, search: Annealer, start: Integers, completion: Integers) -> None:
    """Key every stage by its start, or by its latest start for when its workflow is wanted; shift a few workflows.

    A workflow is wanted by its deadline if it meets that, and behind all others if not. The keys of a workflow grow
    along its paths, whatever it is shifted by.
    """
    by_start = np.random.random() < WHOLE_BY_START
    shifted = WHOLE_SHIFTED * np.random.random()
    noise = 10.0 ** (1.0 + 2.0 * np.random.random())
    for workflow in range(completion.size):
        shift = noise * np.random.standard_normal() if np.random.random() < shifted else 0.0
        wanted = float(shop.deadline[workflow])
        if completion[workflow] > shop.deadline[workflow] and np.random.random() < 0.9:
            wanted = BEHIND + completion[workflow]
        for j in range(shop.workflow_stage_offsets[workflow], shop.workflow_stage_offsets[workflow + 1]):
            stage = shop.workflow_stages[j]
            key = float(start[stage]) if by_start else wanted - shop.stage_tail[stage]
            search.key[stage] = key + shift - FIRST * shop.stage_first[stage]


@compiled_part
def some_patience() -> float:
    """How long this decode waits rather than load, in load times."""
    return 4.0 * np.random.random()


@compiled_part
def _ruin(shop: Shop, search: Annealer) -> int:
    """Take a few workflows off the candidate and line their stages up; the number of these.

    The candidate's cost then counts the workflows at their least.
    """
    count = _choose(shop, search)
    line, completion = timeline_at(search.lines, CANDIDATE), search.completion[CANDIDATE]
    for i in range(count):
        workflow = search.chosen[i]
        for j in range(shop.workflow_stage_offsets[workflow + 1] - 1, shop.workflow_stage_offsets[workflow] - 1, -1):
            stage = shop.workflow_stages[j]
            if not shop.stage_first[stage]:
                search.cost[CANDIDATE] -= remove_stage(shop, line, stage)
    total = _line_up(shop, search, count)
    for i in range(count):
        workflow = search.chosen[i]
        least = _least_now(shop, line, workflow)
        search.cost[CANDIDATE] += workflow_cost(shop, workflow, least)
        search.cost[CANDIDATE] -= workflow_cost(shop, workflow, completion[workflow])
        completion[workflow] = least
    return total


@compiled_part
def _least_now(shop: Shop, line: Timeline, workflow: int) -> int:
    """The first tick by which a workflow can end whose stages are off the timeline, but for those that go first."""
    least: int = shop.least[workflow]
    for j in range(shop.workflow_stage_offsets[workflow], shop.workflow_stage_offsets[workflow + 1]):
        stage = shop.workflow_stages[j]
        if shop.stage_first[stage]:
            least = max(least, line.end[stage] + shop.stage_rest[stage])
    return least


@compiled_part
def _recreate(shop: Shop, search: Annealer, total: int, limit: float) -> None:
    """Insert the pending stages; a candidate that cannot stay within the limit is given up at infinite cost."""
    line, completion = timeline_at(search.lines, CANDIDATE), search.completion[CANDIDATE]
    order = search.pending[:total]
    search.cost[CANDIDATE] = decode(shop, line, order, some_patience(), completion, search.cost[CANDIDATE], limit)


@compiled_part
def _choose(shop: Shop, search: Annealer) -> int:
    """Choose the workflows of a move: one with much to gain, and others that run while it could."""
    completion = search.completion[CANDIDATE]
    workflows = completion.size
    count = min(1 + np.random.randint(MOST_WORKFLOWS), workflows)
    search.chosen[0] = most_to_gain(shop, search, CANDIDATE, 1 + np.random.randint(4))
    latest = completion[search.chosen[0]]
    taken = 1
    for _ in range(4 * count):
        if taken == count:
            break
        other = np.random.randint(workflows)
        if completion[other] - 2 * shop.least[other] <= latest and not _contains(search.chosen, taken, other):
            search.chosen[taken] = other
            taken += 1
    return taken


@compiled_part
def most_to_gain(shop: Shop, search: Annealer, schedule: int, drawn: int) -> int:
    """Of workflows drawn at random, the one that costs most above its least."""
    chosen, most = 0, -np.inf
    for _ in range(drawn):
        workflow = np.random.randint(shop.least.size)
        gain = workflow_cost(shop, workflow, search.completion[schedule, workflow])
        gain -= workflow_cost(shop, workflow, shop.least[workflow])
        if gain > most:
            chosen, most = workflow, gain
    return chosen


@compiled_part
def _contains(values: Integers, count: int, value: int) -> bool:
    found = False
    for i in range(count):
        found |= values[i] == value
    return found


@compiled_part
def _line_up(shop: Shop, search: Annealer, count: int) -> int:
    """Put the stages of the chosen workflows in an order, drawn at random from several kinds; the number of stages."""
    by_stage = 1.0 if np.random.random() < 0.7 else 0.0
    by_laxity = np.random.random() < 0.6
    late_last = np.random.random() < 0.5
    noise = 10.0 ** (4.0 * np.random.random() - 1.0)
    total = 0
    for i in range(count):
        workflow = search.chosen[i]
        base = float(shop.deadline[workflow]) if by_laxity else search.work[workflow]
        base += noise * np.random.standard_normal()
        if i > 0 and late_last and search.completion[CANDIDATE, workflow] > shop.deadline[workflow]:
            base += BEHIND
        elif i == 0 and np.random.random() < 0.5:
            base -= BEHIND
        for j in range(shop.workflow_stage_offsets[workflow], shop.workflow_stage_offsets[workflow + 1]):
            stage = shop.workflow_stages[j]
            if not shop.stage_first[stage]:
                _insert_by_key(search, total, stage, base - by_stage * shop.stage_tail[stage])
                total += 1
    return total


@compiled_part
def _insert_by_key(search: Annealer, count: int, stage: int, key: float) -> None:
    """Insert into the sorted pending stages, behind equals."""
    j = count
    while j > 0 and search.key[j - 1] > key:
        search.key[j] = search.key[j - 1]
        search.pending[j] = search.pending[j - 1]
        j -= 1
    search.key[j] = key
    search.pending[j] = stage
