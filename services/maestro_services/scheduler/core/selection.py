"""Which waiting stages a snapshot has room for, so that what can run is planned whatever else waits.

Stages that no usable accelerator can run get no room, nor does what comes after them. Stages behind a tool that a
client completes get what is left, since nobody knows when they may start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import chain, islice

from maestro.reasons import Reason
from maestro.status import StageState
from maestro.workflow import ToolStage
from maestro_services.scheduler.core.costing import Costing
from maestro_services.scheduler.core.fitting import Rooms, fits
from maestro_services.scheduler.core.records import StageRecord, WorkflowRecord

CanRun = Callable[[WorkflowRecord, StageRecord], bool]


class Outlook(IntEnum):
    """What stands before a waiting stage, the worst last."""

    PLANNABLE = 0
    BEHIND_CLIENT = 1
    NOWHERE = 2


def select(
    workflows: list[WorkflowRecord], limit: int, costing: Costing, largest: Rooms
) -> dict[str, list[StageRecord]]:
    """At most ``limit`` waiting stages by workflow; ``workflows`` come in the order in which they are served.

    Every unfinished predecessor of a chosen stage is chosen too, or runs. First comes one ready stage of each
    workflow, until half the room is taken: a huge workflow leaves the others a start, and many small ones leave room
    to look ahead. Then each workflow gets all its ready stages and those behind them, in topological order.
    """

    def can_run(workflow: WorkflowRecord, stage: StageRecord) -> bool:
        return fits(costing.cost(workflow, stage).options, largest)

    chosen: dict[str, dict[str, StageRecord]] = {}
    starts = (islice(_ready(workflow, can_run), 1) for workflow in workflows)
    plannable = (_in_order(workflow, Outlook.PLANNABLE, can_run) for workflow in workflows)
    behind = (_in_order(workflow, Outlook.BEHIND_CLIENT, can_run) for workflow in workflows)
    taken = 0
    for stages, room in ((starts, limit // 2), (chain(plannable, behind), limit)):
        for stage in chain.from_iterable(stages):
            if taken >= room:
                break
            known = chosen.setdefault(stage.key.workflow, {})
            taken += stage.key.stage not in known
            known[stage.key.stage] = stage
    return {workflow.id: list(chosen[workflow.id].values()) for workflow in workflows if workflow.id in chosen}


def _in_order(workflow: WorkflowRecord, wanted: Outlook, can_run: CanRun) -> Iterator[StageRecord]:
    """The waiting stages of one outlook: the ready ones, then the others behind their predecessors."""
    if wanted is Outlook.PLANNABLE:
        yield from _ready(workflow, can_run)
    outlooks: dict[str, Outlook] = {}
    for stage_id in workflow.spec.topological_order:
        stage = workflow.stages[stage_id]
        if not stage.state.final:
            outlook = _outlook(workflow, stage, outlooks, can_run)
            outlooks[stage_id] = outlook
            if outlook is wanted and stage.state is StageState.WAITING:
                yield stage


def _outlook(
    workflow: WorkflowRecord, stage: StageRecord, before: dict[str, Outlook], can_run: CanRun
) -> Outlook:
    """What stands before a stage that has not ended, given what stands before its predecessors."""
    if stage.state is StageState.RUNNING:
        unknown = isinstance(stage.spec, ToolStage) and stage.spec.duration_s is None
        return Outlook.BEHIND_CLIENT if unknown else Outlook.PLANNABLE
    worst = max((before[stage_id] for stage_id in stage.waiting_for), default=Outlook.PLANNABLE)
    if worst is not Outlook.NOWHERE and stage.models and not can_run(workflow, stage):
        return Outlook.NOWHERE
    return worst


def _ready(workflow: WorkflowRecord, can_run: CanRun) -> Iterator[StageRecord]:
    """The ready LLM stages that can run, longest tail first. The others are told that they cannot."""
    ready = [stage for stage in workflow.stages.values() if stage.ready and stage.models]
    for stage in sorted(ready, key=lambda found: -found.tail_s):
        if can_run(workflow, stage):
            yield stage
        else:
            stage.reason = Reason.NO_ACCELERATOR_FITS
