"""Where and when one stage ends soonest: on a replica that is there, or on one loaded for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from maestro_solver.heuristics.profile import FOREVER
from maestro_solver.heuristics.state import AcceleratorTrack, FleetState, ResidentTrack
from maestro_solver.instance import GridOption


class Place(NamedTuple):
    """A stage's place. ``resident`` None: its model is loaded from ``load_start`` after evicting ``evicted``."""

    option: GridOption
    start: int
    resident: ResidentTrack | None = None
    load_start: int = 0
    ready: int = 0
    evicted: tuple[ResidentTrack, ...] = ()


def best_place(
    state: FleetState, options: tuple[GridOption, ...], earliest: tuple[int, ...], patience: float
) -> Place | None:
    """The place where the stage ends soonest; None where nothing holds it.

    ``earliest`` gives the first allowed start per cluster. ``patience`` is how many load times a stage rather waits
    for a replica that is there than has one loaded: 0 loads whenever that ends sooner. Who shares an accelerator is
    slower: places are compared by when the stage would end beside what runs there when it starts, though what it
    reserves is its time alone. Ties go to the place without a load, then to the one that evicts least, then to the
    accelerators already in use.
    """
    best: Place | None = None
    best_rank: tuple[float, int, int] = (FOREVER, 0, 0)
    for option in options:
        tracks = state.tracks_of(option.model, option.accelerator)
        if not state.may_use(tracks):
            continue
        start = max(earliest[tracks[0].cluster], state.floor)
        if start + option.duration > best_rank[0]:
            continue
        place = _on_resident(state, tracks, option, start)
        loaded = _with_load(state, tracks, option, start)
        fresh = state.fresh(tracks)
        for found in (place, loaded):
            if found is None:
                continue
            load = found.ready - found.load_start
            duration = option.duration * _stretch(state, tracks, option, found.start)
            rank = (found.start + duration + patience * load, len(found.evicted) + (load > 0), fresh)
            if best is None or rank < best_rank:
                best, best_rank = found, rank
    return best


def _stretch(state: FleetState, tracks: Sequence[AcceleratorTrack], option: GridOption, start: int) -> float:
    """How many times longer than alone the stage takes beside what shares its accelerators when it starts.

    Other models count if they are at work then, or will be: models that are waited for do not idle.
    """
    batch_slope, colocation_slope = state.slopes[option.model, option.accelerator]
    batch = others = 0
    for resident in _holders(tracks):
        running = resident.batch.level_at(start)
        if resident.model == option.model:
            batch += running
        elif running or resident.last_use > start or (resident.end > start and state.demand[resident.model] > 0):
            others += 1
    return (1.0 + batch_slope * batch) * (1.0 + colocation_slope) ** others


def commit(state: FleetState, place: Place) -> ResidentTrack:
    """Carry a place out on the state; returns the residency that the stage runs in."""
    resident = place.resident
    if resident is None:
        for found in place.evicted:
            state.evict(found, place.load_start)
        resident = state.load(place.option.model, place.option.accelerator, place.load_start, place.ready)
    state.run(resident, place.option, place.start)
    return resident


def _holders(tracks: Sequence[AcceleratorTrack]) -> Iterable[ResidentTrack]:
    """All that hold memory on the accelerators, each once."""
    return tracks[0].holders if len(tracks) == 1 else dict.fromkeys(found for each in tracks for found in each.holders)


def _on_resident(state: FleetState, tracks: Sequence[AcceleratorTrack], option: GridOption, start: int) -> Place | None:
    """The soonest start inside a residency of the model that is there or decided."""
    best: Place | None = None
    for resident in tracks[0].residents:
        if resident.model != option.model or not resident.usable:
            continue
        found = _first_start(state, tracks, resident, option, max(start, resident.ready))
        if found + option.duration <= resident.end and (best is None or found < best.start):
            best = Place(option, found, resident)
    return best


def _first_start(
    state: FleetState, tracks: Sequence[AcceleratorTrack], resident: ResidentTrack, option: GridOption, start: int
) -> int:
    """The first tick from ``start`` on with slots, a place in the batch, and KV memory for the whole stage."""
    duration, elastic = option.duration, tracks[0].elastic
    batch_room = state.instance.models[option.model].max_batch - 1
    while start < FOREVER:
        found = resident.batch.earliest_fit(start, duration, batch_room)
        for track in tracks:
            found = track.running.earliest_fit(found, duration, track.slots - 1)
            if elastic:
                found = track.memory.earliest_fit(found, duration, track.capacity - option.kv)
        if not elastic:
            found = resident.used.earliest_fit(found, duration, resident.pool - option.kv)
        if found == start:
            break
        start = found
    return start


def _with_load(state: FleetState, tracks: Sequence[AcceleratorTrack], option: GridOption, start: int) -> Place | None:
    """The soonest start after loading the model, idle residents evicted where its memory needs it."""
    load = state.instance.load.get((option.model, option.accelerator))
    if load is None:
        return None
    first = max(state.floor, start - load)
    for resident in tracks[0].residents:
        if resident.model == option.model:
            if resident.end >= FOREVER:
                return None  # it stays: a second replica beside it would serve nobody
            first = max(first, resident.end)
    need = state.instance.memory_of(option.model, option.accelerator) + (option.kv if tracks[0].elastic else 0)
    free = first
    for track in tracks:
        free = max(free, _memory_from(state, track, first, track.capacity - need))
    if free >= FOREVER:
        return None
    reading = state.instance.link[option.model, option.accelerator]
    load_start = state.links[tracks[0].node].earliest_fit(free, reading, 0)
    ready = load_start + load
    begin = _slots_free(tracks, max(start, ready), option.duration)
    if begin >= FOREVER:
        return None
    return Place(option, begin, None, load_start, ready, _evictions(state, tracks, load_start, need))


def _slots_free(tracks: Sequence[AcceleratorTrack], start: int, duration: int) -> int:
    """The first tick from ``start`` on with a slot on every accelerator for so long."""
    while start < FOREVER:
        found = start
        for track in tracks:
            found = track.running.earliest_fit(found, duration, track.slots - 1)
        if found == start:
            break
        start = found
    return start


def _evictable(state: FleetState, track: AcceleratorTrack) -> list[ResidentTrack]:
    """Residents that may leave once they are idle, the least missed first."""
    pinned = state.instance.pinned
    found = [
        resident
        for resident in track.holders
        if resident.end >= FOREVER and resident.usable and (resident.model, resident.members[0]) not in pinned
    ]
    found.sort(key=lambda resident: (state.demand[resident.model] > 0, resident.last_use))
    return found


def _memory_from(state: FleetState, track: AcceleratorTrack, first: int, room: int) -> int:
    """The first tick from ``first`` on from which at most ``room`` is held for good, every idle resident evicted."""
    evictable = _evictable(state, track)
    times = track.memory.times
    peaks = track.memory.peaks_from()
    idle = [(resident.last_use, resident.memory) for resident in evictable]
    candidates = sorted({first, *(time for time in times if time > first), *(time for time, _ in idle if time > first)})

    def fits(time: int) -> bool:
        freed = sum(memory for idle_from, memory in idle if idle_from <= time)
        return peaks[bisect_right(times, time) - 1] - freed <= room

    low, high = 0, len(candidates)
    while low < high:  # what fits at one instant fits at every later one
        middle = (low + high) // 2
        if fits(candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return candidates[low] if low < len(candidates) else FOREVER


def _evictions(
    state: FleetState, tracks: Sequence[AcceleratorTrack], time: int, need: int
) -> tuple[ResidentTrack, ...]:
    """The fewest of the least missed idle residents that have to leave at ``time`` for ``need`` on each accelerator."""
    leaving: list[ResidentTrack] = []
    for track in tracks:
        room = track.capacity - need
        held = track.memory.peaks_from()[bisect_right(track.memory.times, time) - 1]
        held -= sum(resident.memory for resident in leaving if track.position in resident.members)
        chosen: list[ResidentTrack] = []
        for resident in _evictable(state, track):
            if held > room and resident.last_use <= time and resident not in leaving:
                chosen.append(resident)
                held -= resident.memory
        for resident in list(chosen):
            if held + resident.memory <= room:
                chosen.remove(resident)
                held += resident.memory
        leaving += chosen
    return tuple(leaving)
