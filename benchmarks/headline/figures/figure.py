"""What a figure is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure as Canvas

from benchmarks.headline.running.cells import Cells


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a heading; all rows have as many entries as there are headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown."""
        lines = [self.headings, tuple("---" for _ in self.headings), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True, slots=True)
class Picture:
    """A canvas, and what its file is called."""

    name: str
    canvas: Canvas


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure by name. ``about`` says what is to be seen; ``loads``: its own in place of the grid's."""

    name: str
    title: str
    about: str
    policies: tuple[str, ...]
    tables: Callable[[Cells], list[Table]]
    pictures: Callable[[Cells], Iterator[Picture]]
    loads: tuple[str, ...] | None = None
