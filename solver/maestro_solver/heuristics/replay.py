"""Brings decisions that were made before into a state, so that new ones can be made on top of them."""

from __future__ import annotations

from collections.abc import Iterable

from maestro_solver.heuristics.profile import FOREVER
from maestro_solver.heuristics.state import FleetState, ResidentTrack
from maestro_solver.instance import GridOption
from maestro_solver.schedule import Resident, Span


def replay_resident(state: FleetState, resident: Resident) -> None:
    """Continue a replica of the snapshot, or begin a planned load; end it where it ends."""
    if resident.replica is None:
        found = state.load(resident.model, resident.accelerator, resident.load_start, resident.ready)
    else:
        residents = state.tracks[resident.accelerator].residents
        found = next(each for each in residents if each.replica == resident.replica)
    if resident.end is not None and found.end >= FOREVER:
        state.evict(found, resident.end)


def replay_stage(state: FleetState, option: GridOption, span: Span) -> bool:
    """Reserve what a placed stage holds; False, and no change, where no residency holds it."""
    host = _host(state.tracks[option.accelerator].residents, option, span)
    if host is not None:
        state.run(host, option, span.start)
    return host is not None


def _host(residents: Iterable[ResidentTrack], option: GridOption, span: Span) -> ResidentTrack | None:
    for found in residents:
        if found.model == option.model and found.usable and found.ready <= span.start and span.end <= found.end:
            return found
    return None
