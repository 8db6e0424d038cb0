"""Snapshots of a run, as files that ``maestro plan`` reads: real queues, for measuring planners on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro.plan import Plan
from maestro.snapshot import PlanInForce, Snapshot
from maestro.snapshot_codec import snapshot_to_dict
from maestro_services.simulation.planner import ChargedPlanner
from maestro_services.simulation.world import Simulation


class SnapshotRecorder:
    """Writes a snapshot with stages every ``every_s`` virtual seconds, unless nothing waits that needs a model.

    A file is called after the instant in milliseconds (``000060000ms.json``) and holds what ``maestro snapshot
    generate`` would print. Raises InvalidInputError where the folder cannot be written to.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        """``folder`` is made; files of the same names in it are replaced."""
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._every_s = every_s
        self._next_at_s = every_s

    def planned(self, snapshot: Snapshot) -> None:
        """The planner was given this to place stages; kept if it is time for another one."""
        if snapshot.taken_at_s >= self._next_at_s and self._keep(snapshot):
            self._next_at_s = snapshot.taken_at_s + self._every_s

    def watch(self, simulation: Simulation) -> None:
        """Keep what a planner that places stages would be given in a run whose policy is asked for less, or nothing.

        No plan of stages is in force there. The core forecasts what it is asked for and remembers that, so that a copy
        of it is asked: the run goes on as it would have.
        """

        def look() -> None:
            core = deepcopy(simulation.core, {id(simulation): simulation})
            self._keep(replace(core.snapshot(simulation.events.now), in_force=PlanInForce()))
            simulation.events.after(self._every_s, look)

        simulation.events.at(self._next_at_s, look)

    def _keep(self, snapshot: Snapshot) -> bool:
        """Write the snapshot if there is something to plan; whether there is."""
        if not any(stage.options for stage in snapshot.waiting):
            return False
        text = json.dumps(snapshot_to_dict(snapshot), separators=(",", ":"))
        file = self._folder / f"{round(1000 * snapshot.taken_at_s):09d}ms.json"
        with _writing(self._folder):
            file.write_text(text + "\n", encoding="utf-8")
        return True


@dataclass(frozen=True, slots=True)
class RecordedPlanner(ChargedPlanner):
    """The planner, with what it is given kept by ``recorder``."""

    recorder: SnapshotRecorder = field(kw_only=True)

    def plan(self, snapshot: Snapshot) -> tuple[Plan, float]:
        """As without a recorder."""
        self.recorder.planned(snapshot)
        return ChargedPlanner.plan(self, snapshot)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell whose folder it is that cannot be written to."""
    try:
        yield
    except OSError as error:
        raise InvalidInputError(
            "snapshots", f"cannot be written: {error.strerror}", value=str(folder), remedy="give a folder with room"
        ) from error
