"""What no event tells of a workflow that is watched: why stages wait, asked for every few seconds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from maestro.errors import MaestroError
from maestro.reasons import Reason
from maestro.status import StageStatus, WorkflowState

if TYPE_CHECKING:
    from maestro.client import AsyncClient
    from maestro_services.cli.board import Board

ASK_EVERY_S = 2.0
REPEAT_AFTER_S = 10.0
_NUMBER = re.compile(r"\d+")
_Tell = Callable[[str, StageStatus], None]


class WaitingNews:
    """Tells what is new of waiting stages, and how far a wait is that goes on, but not at every look."""

    def __init__(self, tell: _Tell) -> None:
        """``tell`` is called with a workflow's id and the stage that waits."""
        self._tell = tell
        self._told: dict[tuple[str, str], tuple[str, float]] = {}

    def take(self, workflow_id: str, stage: StageStatus, now_s: float) -> None:
        """Pass a waiting stage on where it waits for something else than before, or its last news is old."""
        if stage.reason is Reason.WAITING_FOR_PREDECESSORS:
            return
        key, text = (workflow_id, stage.id), _NUMBER.sub("", f"{stage.reason}{stage.detail}")
        before, told_s = self._told.get(key, ("", 0.0))
        if text != before or (stage.detail and now_s - told_s >= REPEAT_AFTER_S):
            self._told[key] = text, now_s
            self._tell(workflow_id, stage)


async def keep_asking(client: AsyncClient, board: Board, tell: _Tell) -> None:
    """Bring the reasons of waiting stages on the board up to date, for ever; ``tell`` is told what is new.

    A scheduler that does not answer is for whoever follows the events to report.
    """
    news = WaitingNews(tell)
    clock = asyncio.get_running_loop()
    while True:
        for workflow_id, known in list(board.workflows.items()):
            if known.state is WorkflowState.ACTIVE:
                with suppress(MaestroError):
                    for stage in board.refresh(await client.get(workflow_id)):
                        news.take(workflow_id, stage, clock.time())
        await asyncio.sleep(ASK_EVERY_S)
