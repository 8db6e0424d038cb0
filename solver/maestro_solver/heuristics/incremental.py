"""The incremental form of the heuristics: one stage at a time, between plans.

A view is built once per snapshot; placing a stage on it then costs some tens of microseconds per accelerator.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from maestro.plan import Assignment, Residency
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPlace, Snapshot, StageKey, WaitingStage
from maestro_solver.discretize import Discretization
from maestro_solver.grid import Grid
from maestro_solver.heuristics.placement import Place, best_place, commit
from maestro_solver.heuristics.replay import replay_resident, replay_stage
from maestro_solver.heuristics.state import FleetState
from maestro_solver.instance import NOWHERE, GridOption
from maestro_solver.schedule import Resident, Span


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one stage ends soonest.

    ``needs_load``: the model is loaded from ``load_start_s`` to ``ready_s`` first, after the idle replicas ``evict``
    have left its accelerators. All times are seconds after the snapshot.
    """

    stage: StageKey
    accelerator: str
    model: str
    start_s: float
    end_s: float
    kv_bytes: int
    needs_load: bool
    load_start_s: float = 0.0
    ready_s: float = 0.0
    evict: tuple[ReplicaPlace, ...] = ()

    def as_assignment(self) -> Assignment:
        """The placement as a plan would hold it."""
        return Assignment(self.stage, self.accelerator, self.model, self.start_s, self.end_s, self.kv_bytes)


class SnapshotView:
    """A snapshot with the decisions that are in force, open for further stages.

    ``assignments`` and ``residencies`` are those of the plan in force that are still to be carried out, their times
    relative to ``snapshot``. What no longer fits the snapshot (a stage on a replica that is gone, a load that cannot
    be) is left out. Raises InvalidInputError where the snapshot contradicts itself.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        assignments: Iterable[Assignment] = (),
        residencies: Iterable[Residency] = (),
        grid: Grid | None = None,
    ) -> None:
        self._grid = grid or Grid.suited(snapshot)
        self._discretization = Discretization(replace(snapshot, waiting=()), self._grid)
        self._instance = self._discretization.instance(horizon=1)
        self._state = FleetState(self._instance)
        self._running = {stage.key for stage in snapshot.running}
        self._ends: dict[StageKey, tuple[int, int]] = {}
        for residency in sorted(residencies, key=lambda found: found.load_start_s):
            self._take_over_residency(residency)
        for assignment in assignments:
            self._take_over_assignment(assignment)

    def place(self, stage: WaitingStage, patience: float = 0.0) -> Placement | Reason:
        """The place where the stage ends soonest, or why it has none. Changes nothing.

        ``patience``: how many load times the stage rather waits for a replica that is there than has one loaded.
        """
        found = self._find(stage, patience)
        return found if isinstance(found, Reason) else self._placement(stage, found)

    def place_and_keep(self, stage: WaitingStage, patience: float = 0.0) -> Placement | Reason:
        """As :meth:`place`, and the stage holds its place against those that follow."""
        found = self._find(stage, patience)
        if isinstance(found, Reason):
            return found
        placement = self._placement(stage, found)
        commit(self._state, found)
        cluster = self._instance.accelerators[found.option.accelerator].cluster
        self._ends[stage.key] = (found.start + found.option.duration, cluster)
        return placement

    def keep_external(self, stage: WaitingStage) -> Reason | None:
        """Note when a tool stage ends, for those that follow; the reason where its predecessors have no place yet."""
        earliest = self._earliest(stage)
        if earliest is None:
            return Reason.WAITING_FOR_PREDECESSORS
        self._ends[stage.key] = (earliest[-1] + self._grid.ticks_up(stage.external_s or 0.0), NOWHERE)
        return None

    def _find(self, stage: WaitingStage, patience: float) -> Place | Reason:
        if stage.external_s is not None:
            return Reason.WAITING_FOR_TOOL
        earliest = self._earliest(stage)
        if earliest is None:
            return Reason.WAITING_FOR_PREDECESSORS
        if not self._instance.accelerators:
            return Reason.NO_NODE
        options = tuple(self._discretization.options_of(stage))
        return best_place(self._state, options, earliest, patience) or Reason.NO_ACCELERATOR_FITS

    def _earliest(self, stage: WaitingStage) -> tuple[int, ...] | None:
        """The first allowed start per cluster; None where a predecessor has no place yet."""
        earliest = list(self._discretization.release_of(stage))
        for key in stage.predecessors:
            if key in self._running:
                continue
            if key not in self._ends:
                return None
            end, origin = self._ends[key]
            for cluster in range(len(earliest)):
                crosses = origin not in {NOWHERE, cluster} and cluster < len(earliest) - 1
                earliest[cluster] = max(earliest[cluster], end + (self._instance.network_delay if crosses else 0))
        return tuple(earliest)

    def _placement(self, stage: WaitingStage, place: Place) -> Placement:
        start_s = self._grid.seconds(place.start)
        loads = place.resident is None
        return Placement(
            stage=stage.key,
            accelerator=self._instance.accelerators[place.option.accelerator].name,
            model=self._instance.models[place.option.model].name,
            start_s=start_s,
            end_s=start_s + place.option.duration_s,
            kv_bytes=place.option.kv_bytes,
            needs_load=loads,
            load_start_s=self._grid.seconds(place.load_start) if loads else 0.0,
            ready_s=self._grid.seconds(place.ready) if loads else 0.0,
            evict=tuple(
                ReplicaPlace(
                    self._instance.models[found.model].name, self._instance.accelerators[found.members[0]].name
                )
                for found in place.evicted
            ),
        )

    def _take_over_residency(self, residency: Residency) -> None:
        accelerator = self._discretization.accelerator_at.get(residency.accelerator)
        model = self._discretization.model_at.get(residency.model)
        if accelerator is None or model is None:
            return
        replica = self._replica_of(accelerator, model) if residency.initial else None
        if (replica is None) == residency.initial or (
            replica is None and (model, accelerator) not in self._instance.load
        ):
            return
        end = None if residency.end_s is None else max(0, self._grid.ticks_up(residency.end_s))
        start = max(0, self._grid.ticks_up(residency.load_start_s))
        ready = max(start, self._grid.ticks_up(residency.ready_s))
        replay_resident(self._state, Resident(accelerator, model, start, ready, end, replica))

    def _replica_of(self, accelerator: int, model: int) -> int | None:
        for position, replica in enumerate(self._instance.replicas):
            if (replica.accelerator, replica.model, replica.draining) == (accelerator, model, False):
                return position
        return None

    def _take_over_assignment(self, assignment: Assignment) -> None:
        accelerator = self._discretization.accelerator_at.get(assignment.accelerator)
        model = self._discretization.model_at.get(assignment.model)
        if accelerator is None or model is None:
            return
        start = max(0, self._grid.ticks_up(assignment.start_s))
        duration_s = assignment.end_s - assignment.start_s
        duration = max(1, self._grid.ticks_up(duration_s))
        kv = self._discretization.reserved(model, accelerator, assignment.kv_bytes)
        option = GridOption(accelerator, model, duration, kv, duration_s, assignment.kv_bytes)
        if replay_stage(self._state, option, Span(start, start + duration)):
            cluster = self._instance.accelerators[accelerator].cluster
            self._ends[assignment.stage] = (start + duration, cluster)


def place(view: SnapshotView, stage: WaitingStage, patience: float = 0.0) -> Placement | Reason:
    """The function form of :meth:`SnapshotView.place`."""
    return view.place(stage, patience)
