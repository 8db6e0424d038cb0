"""What every accelerator holds over time while a schedule is built: residents, stages, and loads on each link.

A tensor-parallel replica and its stages hold as much of each of their accelerators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maestro_solver.heuristics.profile import FOREVER, StepProfile
from maestro_solver.instance import NOWHERE, GridOption, Instance
from maestro_solver.schedule import Resident


class ResidentTrack:
    """One residency in the making: until something evicts it, it stays (``end`` is FOREVER).

    It holds ``memory`` on each of ``members``, its accelerators, and is named by the first.
    """

    __slots__ = (
        "batch",
        "end",
        "last_use",
        "load_start",
        "members",
        "memory",
        "model",
        "pool",
        "ready",
        "replica",
        "usable",
        "used",
    )

    def __init__(
        self,
        model: int,
        members: tuple[int, ...],
        load_start: int,
        ready: int,
        memory: int,
        pool: int,
        replica: int | None,
    ) -> None:
        self.model = model
        self.members = members
        self.load_start = load_start
        self.ready = ready
        self.memory = memory
        self.pool = pool
        self.replica = replica
        self.end = FOREVER
        self.last_use = ready
        self.usable = True
        self.batch = StepProfile()
        self.used = StepProfile()  # units of the fixed pool


class AcceleratorTrack:
    """One accelerator in the making: ``residents`` are named by it, ``holders`` are all that hold memory there."""

    __slots__ = (
        "capacity",
        "cluster",
        "elastic",
        "holders",
        "memory",
        "node",
        "position",
        "residents",
        "running",
        "slots",
    )

    def __init__(self, instance: Instance, position: int) -> None:
        found = instance.accelerators[position]
        self.position = position
        self.capacity = found.memory
        self.slots = found.slots
        self.elastic = found.elastic
        self.node = found.node
        self.cluster = found.cluster
        self.residents: list[ResidentTrack] = []
        self.holders: list[ResidentTrack] = []
        self.memory = StepProfile()
        self.running = StepProfile()


class FleetState:
    """The fleet in the making. No decision starts before tick ``floor``."""

    def __init__(self, instance: Instance, floor: int = 0) -> None:
        self.instance = instance
        self.floor = floor
        self.tracks = [AcceleratorTrack(instance, position) for position in range(len(instance.accelerators))]
        self._alone = [(track,) for track in self.tracks]
        self._groups = {
            pair: tuple(self.tracks[member] for member in members) for pair, members in instance.groups.items()
        }
        self.links = [StepProfile() for _ in instance.link_free]
        self.in_use = {position for position, found in enumerate(instance.accelerators) if found.forced}
        self.in_use_per_cluster = Counter(instance.accelerators[position].cluster for position in self.in_use)
        self.demand: Counter[int] = Counter()
        self.slopes = _slopes(instance)
        for link, free in zip(self.links, instance.link_free, strict=True):
            link.add(0, free, 1)
        self._take_over_replicas()
        self._take_over_running()

    def tracks_of(self, model: int, accelerator: int) -> Sequence[AcceleratorTrack]:
        """The accelerators of a replica of the model that is named by ``accelerator``."""
        return self._groups.get((model, accelerator), self._alone[accelerator])

    def fresh(self, tracks: Sequence[AcceleratorTrack]) -> int:
        """How many of the accelerators are not in use yet."""
        if len(tracks) == 1:
            return int(tracks[0].position not in self.in_use)
        return sum(track.position not in self.in_use for track in tracks)

    def may_use(self, tracks: Sequence[AcceleratorTrack]) -> bool:
        """Whether the GPU budget lets a stage or a load go there; the accelerators are of one cluster."""
        fresh = self.fresh(tracks)
        if fresh == 0:
            return True
        budget, cluster = self.instance.budget, tracks[0].cluster
        limit = budget.per_cluster.get(self.instance.clusters[cluster])
        within_cluster = limit is None or self.in_use_per_cluster[cluster] + fresh <= limit
        return within_cluster and len(self.in_use) + fresh <= budget.total

    def stays(self, option: GridOption) -> bool:
        """Whether a replica for the option is there that nothing is to evict yet."""
        residents = self.tracks[option.accelerator].residents
        return any(found.model == option.model and found.usable and found.end >= FOREVER for found in residents)

    def run(self, resident: ResidentTrack, option: GridOption, start: int) -> None:
        """Reserve what a stage holds while it runs."""
        end = start + option.duration
        elastic = self.tracks[option.accelerator].elastic
        for track in (self.tracks[member] for member in resident.members):
            self.use(track)
            track.running.add(start, end, 1)
            if elastic:
                track.memory.add(start, end, option.kv)
        resident.batch.add(start, end, 1)
        if not elastic:
            resident.used.add(start, end, option.kv)
        resident.last_use = max(resident.last_use, end)

    def load(self, model: int, accelerator: int, start: int, ready: int) -> ResidentTrack:
        """Begin a new residency that is ready at ``ready``; its weights come over the node's link from ``start`` on."""
        memory = self.instance.memory_of(model, accelerator)
        pool = self.instance.pool_of(model, accelerator)
        resident = ResidentTrack(model, self.instance.members(model, accelerator), start, ready, memory, pool, None)
        self.links[self.tracks[accelerator].node].add(start, start + self.instance.link[model, accelerator], 1)
        for member in resident.members:
            self.use(self.tracks[member])
        self._hold(resident)
        return resident

    def evict(self, resident: ResidentTrack, time: int) -> None:
        """End a residency at ``time`` and free its memory from then on."""
        resident.end = time
        for member in resident.members:
            self.tracks[member].memory.add(time, FOREVER, -resident.memory)

    def use(self, track: AcceleratorTrack) -> None:
        """Count the accelerator as in use."""
        if track.position not in self.in_use:
            self.in_use.add(track.position)
            self.in_use_per_cluster[track.cluster] += 1

    def residents(self) -> tuple[Resident, ...]:
        """The residencies decided so far."""
        return tuple(
            Resident(
                accelerator=track.position,
                model=found.model,
                load_start=found.load_start,
                ready=found.ready,
                end=None if found.end >= FOREVER else found.end,
                replica=found.replica,
            )
            for track in self.tracks
            for found in track.residents
        )

    def _hold(self, resident: ResidentTrack) -> None:
        """Let a residency hold its memory from its start on."""
        self.tracks[resident.members[0]].residents.append(resident)
        for track in (self.tracks[member] for member in resident.members):
            track.holders.append(resident)
            track.memory.add(resident.load_start, FOREVER, resident.memory)

    def _take_over_replicas(self) -> None:
        for position, replica in enumerate(self.instance.replicas):
            members = self.instance.members(replica.model, replica.accelerator)
            resident = ResidentTrack(replica.model, members, 0, replica.ready, replica.memory, replica.pool, position)
            resident.last_use = max(replica.ready, replica.busy_until)
            resident.usable = not replica.draining
            self._hold(resident)
            if replica.draining:
                self.evict(resident, resident.last_use)

    def _take_over_running(self) -> None:
        for running in self.instance.running:
            if running.accelerator == NOWHERE:
                continue
            elastic = self.tracks[running.accelerator].elastic
            for track in self.tracks_of(running.model, running.accelerator):
                track.running.add(0, running.end, 1)
                if elastic:
                    track.memory.add(0, running.end, running.kv)
            for resident in self.tracks[running.accelerator].residents:
                if resident.model == running.model:
                    resident.batch.add(0, running.end, 1)
                    resident.used.add(0, running.end, running.kv)


def _slopes(instance: Instance) -> dict[tuple[int, int], tuple[float, float]]:
    """By model and accelerator, how much a stage is slowed by its batch and by other models; 0 where it cannot run."""
    found = {}
    for position, accelerator in enumerate(instance.snapshot.accelerators):
        for model, spec in enumerate(instance.snapshot.models.values()):
            speed = spec.speeds.get(accelerator.kind)
            found[model, position] = (speed.batch_slope, speed.colocation_slope) if speed else (0.0, 0.0)
    return found
