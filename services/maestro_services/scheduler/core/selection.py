"""Which waiting stages a snapshot has room for, so that what can run is planned whatever else waits.

Stages that no usable accelerator can run get no room, nor does what comes after them: planning them would only keep
others waiting. Stages behind a tool that a client completes get what is left, and none once the tool is overdue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import chain, islice

from maestro.snapshot import StageKey
from maestro.status import StageState
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord


class Outlook(IntEnum):
    """What can be said of when a stage, or what comes after it, may start; the worst last."""

    PLANNABLE = 0
    UNCERTAIN = 1
    UNPLANNABLE = 2


Judge = Callable[[StageRecord], Outlook]
"""The outlook of a stage that has not ended, whatever comes before it."""


def select(workflows: list[WorkflowRecord], limit: int, judge: Judge) -> dict[str, list[StageRecord]]:
    """At most ``limit`` waiting stages by workflow; ``workflows`` come in the order in which they are served.

    Every unfinished predecessor of a chosen stage is chosen too, or runs. First comes one ready stage of each
    workflow, until half the room is taken: a huge workflow leaves the others a start, and many small ones leave room
    to look ahead. Then each workflow gets all its ready stages and those behind them, in topological order.
    """
    starts = (islice(_ready(workflow, judge), 1) for workflow in workflows)
    plannable = (_in_order(workflow, Outlook.PLANNABLE, judge) for workflow in workflows)
    uncertain = (_in_order(workflow, Outlook.UNCERTAIN, judge) for workflow in workflows)
    chosen: dict[StageKey, StageRecord] = {}
    for stages, room in ((starts, limit // 2), (chain(plannable, uncertain), limit)):
        for stage in chain.from_iterable(stages):
            if len(chosen) >= room:
                break
            chosen[stage.key] = stage
    by_workflow: dict[str, list[StageRecord]] = {}
    for key, stage in chosen.items():
        by_workflow.setdefault(key.workflow, []).append(stage)
    return {workflow.id: by_workflow[workflow.id] for workflow in workflows if workflow.id in by_workflow}


def _in_order(workflow: WorkflowRecord, wanted: Outlook, judge: Judge) -> Iterator[StageRecord]:
    """The waiting stages of one outlook: the ready ones, then the others behind their predecessors."""
    if wanted is Outlook.PLANNABLE:
        yield from _ready(workflow, judge)
    outlooks: dict[str, Outlook] = {}
    for stage_id in workflow.spec.topological_order:
        stage = workflow.stages[stage_id]
        if stage.state.final:
            continue
        outlook = max((outlooks[before] for before in stage.waiting_for), default=Outlook.PLANNABLE)
        if outlook is not Outlook.UNPLANNABLE:
            outlook = max(outlook, judge(stage))
        outlooks[stage_id] = outlook
        if outlook is wanted and stage.state is StageState.WAITING:
            yield stage


def _ready(workflow: WorkflowRecord, judge: Judge) -> Iterator[StageRecord]:
    """The ready LLM stages that can run, longest tail first."""
    ready = [stage for stage in workflow.stages.values() if stage.ready and stage.models]
    longest_first = sorted(ready, key=lambda found: -found.tail_s)
    return (stage for stage in longest_first if judge(stage) is Outlook.PLANNABLE)
