"""The portfolio: priority rules that order the stages of an instance for the list scheduler.

Each rule gives every stage a key, smaller first; a stage still stands after its predecessors. In the variant 'hopeless
last' the workflows that cannot meet their deadline even alone on an empty fleet come after all others: lateness is
counted once and tardiness is capped, so what is spent on them is lost to those that can be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from maestro_solver.core_instance.problem import CoreProblem, Reals

Rule = Callable[[CoreProblem], Reals]

HOPELESS_LAST: Final = "+hopeless-last"
"""What the name of a rule ends in where the hopeless come last."""


def first_come(problem: CoreProblem) -> Reals:
    """Workflows in the order of the document."""
    return problem.stage_workflow.astype(np.float64)


def earliest_deadline(problem: CoreProblem) -> Reals:
    """The workflow's deadline."""
    return problem.workflow_deadline[problem.stage_workflow].astype(np.float64)


def least_laxity(problem: CoreProblem) -> Reals:
    """The latest start that meets the deadline: deadline less the longest path from the stage to the end."""
    return earliest_deadline(problem) - problem.stage_tail


def weighted_shortest_remaining_path(problem: CoreProblem) -> Reals:
    """The longest path from the stage to the end, per weight."""
    return problem.stage_tail / _stage_weight(problem)


def weighted_shortest_workflow(problem: CoreProblem) -> Reals:
    """The workflow's total work, per weight."""
    work = np.zeros(problem.workflows)
    np.add.at(work, problem.stage_workflow, problem.stage_duration)
    return work[problem.stage_workflow] / _stage_weight(problem)


def least_laxity_by_weight(problem: CoreProblem) -> Reals:
    """Heavier (interactive) workflows first, least laxity among equals."""
    laxity = least_laxity(problem)
    span = np.ptp(laxity) + 1.0 if laxity.size else 1.0
    return laxity - span * _stage_weight(problem)


RULES: Final[Mapping[str, Rule]] = {  # the strongest on most instances comes first: time may be short
    "llf": least_laxity,
    "fcfs": first_come,
    "edf": earliest_deadline,
    "wsrpt": weighted_shortest_remaining_path,
    "wspt": weighted_shortest_workflow,
    "llf-i": least_laxity_by_weight,
}


def rule_keys(problem: CoreProblem) -> dict[str, Reals]:
    """The key of every stage under every rule, plain and with the hopeless last, by name."""
    late = hopeless(problem)[problem.stage_workflow]
    keys = {name: rule(problem) for name, rule in RULES.items()}
    return keys | {f"{name}{HOPELESS_LAST}": put_last(key, late) for name, key in keys.items()}


def hopeless(problem: CoreProblem) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Workflows whose longest path alone ends after the deadline."""
    path = np.zeros(problem.workflows, dtype=np.int64)
    np.maximum.at(path, problem.stage_workflow, problem.stage_tail)
    return path > problem.workflow_deadline


def put_last(key: Reals, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Reals:
    """The keys with those of the chosen stages moved behind all others, in the same order among themselves."""
    span = np.ptp(key) + 1.0 if key.size else 0.0
    return key + span * chosen


def _stage_weight(problem: CoreProblem) -> Reals:
    """The workflow's weight; one that weighs nothing counts as almost nothing."""
    return np.maximum(problem.workflow_weight, 1e-6)[problem.stage_workflow]
