"""What every accelerator holds over time while a schedule is built: residents, stages, and loads on each link."""

from __future__ import annotations

from collections import Counter

from maestro_solver.heuristics.profile import FOREVER, StepProfile
from maestro_solver.instance import NOWHERE, GridOption, Instance
from maestro_solver.schedule import Resident


class ResidentTrack:
    """One residency in the making: until something evicts it, it stays (``end`` is FOREVER)."""

    __slots__ = (
        "batch",
        "end",
        "last_use",
        "load_start",
        "memory",
        "model",
        "pool",
        "ready",
        "replica",
        "usable",
        "used",
    )

    def __init__(self, model: int, load_start: int, ready: int, memory: int, pool: int, replica: int | None) -> None:
        self.model = model
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
    """One accelerator in the making."""

    __slots__ = ("capacity", "cluster", "elastic", "memory", "node", "position", "residents", "running", "slots")

    def __init__(self, instance: Instance, position: int) -> None:
        found = instance.accelerators[position]
        self.position = position
        self.capacity = found.memory
        self.slots = found.slots
        self.elastic = found.elastic
        self.node = found.node
        self.cluster = found.cluster
        self.residents: list[ResidentTrack] = []
        self.memory = StepProfile()
        self.running = StepProfile()


class FleetState:
    """The fleet in the making. No decision starts before tick ``floor``."""

    def __init__(self, instance: Instance, floor: int = 0) -> None:
        self.instance = instance
        self.floor = floor
        self.tracks = [AcceleratorTrack(instance, position) for position in range(len(instance.accelerators))]
        self.links = [StepProfile() for _ in instance.link_free]
        self.in_use = {position for position, found in enumerate(instance.accelerators) if found.forced}
        self.in_use_per_cluster = Counter(instance.accelerators[position].cluster for position in self.in_use)
        self.demand: Counter[int] = Counter()
        self.slopes = _slopes(instance)
        for link, free in zip(self.links, instance.link_free, strict=True):
            link.add(0, free, 1)
        self._take_over_replicas()
        self._take_over_running()

    def may_use(self, track: AcceleratorTrack) -> bool:
        """Whether the GPU budget lets a stage or a load go there."""
        if track.position in self.in_use:
            return True
        budget = self.instance.budget
        limit = budget.per_cluster.get(self.instance.clusters[track.cluster])
        within_cluster = limit is None or self.in_use_per_cluster[track.cluster] < limit
        return within_cluster and len(self.in_use) < budget.total

    def stays(self, option: GridOption) -> bool:
        """Whether a replica for the option is there that nothing is to evict yet."""
        residents = self.tracks[option.accelerator].residents
        return any(found.model == option.model and found.usable and found.end >= FOREVER for found in residents)

    def run(self, track: AcceleratorTrack, resident: ResidentTrack, option: GridOption, start: int) -> None:
        """Reserve what a stage holds while it runs."""
        end = start + option.duration
        self.use(track)
        track.running.add(start, end, 1)
        resident.batch.add(start, end, 1)
        if track.elastic:
            track.memory.add(start, end, option.kv)
        else:
            resident.used.add(start, end, option.kv)
        resident.last_use = max(resident.last_use, end)

    def load(self, track: AcceleratorTrack, model: int, start: int, ready: int) -> ResidentTrack:
        """Begin a new residency that is ready at ``ready``; its weights come over the node's link from ``start`` on."""
        memory = self.instance.memory_of(model, track.position)
        pool = self.instance.pool_of(model, track.position)
        resident = ResidentTrack(model, start, ready, memory, pool, None)
        self.use(track)
        self.links[track.node].add(start, start + self.instance.link[model, track.position], 1)
        track.memory.add(start, FOREVER, memory)
        track.residents.append(resident)
        return resident

    def evict(self, track: AcceleratorTrack, resident: ResidentTrack, time: int) -> None:
        """End a residency at ``time`` and free its memory from then on."""
        resident.end = time
        track.memory.add(time, FOREVER, -resident.memory)

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

    def _take_over_replicas(self) -> None:
        for position, replica in enumerate(self.instance.replicas):
            track = self.tracks[replica.accelerator]
            resident = ResidentTrack(replica.model, 0, replica.ready, replica.memory, replica.pool, position)
            resident.last_use = max(replica.ready, replica.busy_until)
            resident.usable = not replica.draining
            track.residents.append(resident)
            track.memory.add(0, FOREVER, replica.memory)
            if replica.draining:
                self.evict(track, resident, resident.last_use)

    def _take_over_running(self) -> None:
        for running in self.instance.running:
            if running.accelerator == NOWHERE:
                continue
            track = self.tracks[running.accelerator]
            track.running.add(0, running.end, 1)
            if track.elastic:
                track.memory.add(0, running.end, running.kv)
            for resident in track.residents:
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
