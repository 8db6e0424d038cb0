"""How far a figure is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 60.0


@dataclass(slots=True)
class Told:
    """Whoever is told how far a figure is."""

    name: str
    progress: Progress
    task: TaskID
    told_at_s: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line beside the bar."""
        self.progress.console.print(text, highlight=False)

    def advance(self, done: int, total: int) -> None:
        """So many runs are done."""
        self.progress.update(self.task, completed=done, total=total)
        if self.progress.disable and time.monotonic() - self.told_at_s >= LINE_EVERY_S:
            self.told_at_s = time.monotonic()
            self.say(f"{self.name}: {done} of {total} runs")


@contextmanager
def progress(name: str) -> Iterator[Told]:
    """The progress of a figure, on standard error; the bar goes when it is done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        yield Told(name, shown, shown.add_task(name, total=None))
