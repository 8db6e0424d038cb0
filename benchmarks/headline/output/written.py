"""A figure on disk: its folder holds ``figure.json``, ``table.md`` and its pictures as SVG and PNG."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import matplotlib as mpl
import psutil

from benchmarks.headline.figures.figure import Picture, Table
from benchmarks.headline.running.cells import Cells


@dataclass(frozen=True, slots=True)
class Origin:
    """Where figures come from: the command, its form, the machine, the day, the version of the code."""

    command: str
    form: str
    machine: str
    date: str
    code: str


@dataclass(frozen=True, slots=True)
class Written:
    """A figure as it stands in its folder; ``pictures`` are file names without their ending."""

    name: str
    title: str
    about: str
    origin: Origin
    tables: tuple[Table, ...]
    pictures: tuple[str, ...]
    runs: int
    codes: tuple[str, ...]


def origin(command: str, form: str, code: str) -> Origin:
    """Figures made on this machine today."""
    memory_gib = psutil.virtual_memory().total / (1 << 30)
    machine = (
        f"{platform.machine()}, {psutil.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"
    )
    return Origin(command, form, machine, f"{datetime.now().astimezone():%Y-%m-%d}", code)


def write(  # noqa: PLR0913 - all that a figure is
    folder: Path,
    *,
    name: str,
    title: str,
    about: str,
    made_by: Origin,
    pictures: Iterable[Picture],
    tables: Sequence[Table] = (),
    cells: Cells | None = None,
) -> Written:
    """Writes a figure into its folder; ``without ``cells`` it is made of records."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for picture in pictures:
        _save(picture, folder)
        names.append(picture.name)
    kept = [kept for cell in cells.all for kept in cell.kept.values()] if cells is not None else []
    codes = tuple(sorted({each.code for each in kept}))
    written = Written(name, title, about, made_by, tuple(tables), tuple(names), len(kept), codes)
    document = asdict(written) | {"cells": _cells(cells)}
    (folder / "figure.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "table.md").write_text("\n\n".join(table.markdown() for table in tables) + "\n")
    return written


def read(folder: Path) -> Written:
    """The figure in a folder."""
    found = json.loads((folder / "figure.json").read_text())
    tables = tuple(Table(tuple(t["headings"]), tuple(map(tuple, t["rows"]))) for t in found["tables"])
    return Written(
        found["name"],
        found["title"],
        found["about"],
        Origin(**found["origin"]),
        tables,
        tuple(found["pictures"]),
        found["runs"],
        tuple(found["codes"]),
    )


def _save(picture: Picture, folder: Path) -> None:
    mpl.rcParams["svg.hashsalt"] = picture.name  # equal data give equal files, and no two pictures share an id
    picture.canvas.savefig(folder / f"{picture.name}.svg", metadata={"Date": None}, transparent=True)
    picture.canvas.savefig(folder / f"{picture.name}.png", dpi=110, facecolor="white")


def _cells(cells: Cells | None) -> list[dict[str, object]]:
    return [
        {
            "scenario": cell.scenario,
            "workload": cell.workload,
            "load": cell.load,
            "rate_per_s": cell.rate_per_s,
            "policy": cell.policy,
            "seeds": [cell.kept[seed].result for seed in sorted(cell.kept)],
        }
        for cell in (cells.all if cells is not None else ())
    ]
