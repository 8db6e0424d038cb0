"""Checks of residencies: they continue what is there, load over a shared link, and end only when idle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from maestro.plan import Residency
from maestro.snapshot import ReplicaPhase
from maestro_solver.checks.case import RESIDENT_PHASES, TOLERANCE_S, Case, Constraint, Violation, stands_for


def initial_residencies(case: Case) -> Iterator[Violation]:
    """Initial residencies and the snapshot's resident replicas correspond one to one."""
    initial: dict[str, list[Residency]] = defaultdict(list)
    for residency in case.plan.residencies:
        if residency.initial:
            initial[residency.accelerator].append(residency)
    for accelerator in case.snapshot.accelerators:
        for replica in accelerator.replicas:
            if replica.phase not in RESIDENT_PHASES:
                continue
            match = next((found for found in initial[accelerator.name] if stands_for(found, replica)), None)
            if match is None:
                yield Violation(
                    Constraint.INITIAL_RESIDENCY,
                    f"no initial residency continues {replica.model} on {accelerator.name} (ready in"
                    f" {replica.ready_in_s} s)",
                )
            else:
                initial[accelerator.name].remove(match)
    for name, left in initial.items():
        for residency in left:
            yield Violation(Constraint.INITIAL_RESIDENCY, f"{residency.model} is not on {name} in the snapshot")


def loads(case: Case) -> Iterator[Violation]:
    """A load is of a pair that can be loaded, takes its load time, and starts with the model's pool."""
    for residency in case.plan.residencies:
        name = f"{residency.model} on {residency.accelerator}"
        if residency.end_s is not None and residency.end_s < residency.ready_s - TOLERANCE_S and not residency.initial:
            yield Violation(Constraint.LOAD, f"the load of {name} is given up before it is ready")
        if residency.initial:
            continue
        load_s = case.snapshot.load_s.get((residency.model, residency.accelerator))
        model = case.snapshot.models.get(residency.model)
        accelerator = case.accelerators.get(residency.accelerator)
        if load_s is None or model is None or accelerator is None:
            yield Violation(Constraint.LOAD, f"{name} cannot be loaded")
            continue
        if residency.load_start_s < -TOLERANCE_S or residency.ready_s < residency.load_start_s + load_s - TOLERANCE_S:
            yield Violation(
                Constraint.LOAD,
                f"{name} is loaded from {residency.load_start_s} s to {residency.ready_s} s but takes {load_s} s",
            )
        pool_bytes = 0 if accelerator.kv_elastic else model.kv_pool_bytes
        if residency.kv_pool_bytes != pool_bytes:
            yield Violation(Constraint.LOAD, f"{name} has a pool of {residency.kv_pool_bytes} bytes, not {pool_bytes}")


def links(case: Case) -> Iterator[Violation]:
    """Loads on one node read their weights one after the other; a load that runs now counts."""
    spans: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    for residency in case.plan.residencies:
        accelerator = case.accelerators.get(residency.accelerator)
        read_s = case.read_s(residency)
        if accelerator is not None and read_s > residency.load_start_s + TOLERANCE_S:
            spans[accelerator.node].append((residency.load_start_s, read_s, residency.initial))
    for node, loading in spans.items():
        loading.sort()
        busy_until_s = 0.0
        for start_s, read_s, initial in loading:
            if not initial and start_s < busy_until_s - TOLERANCE_S:
                yield Violation(
                    Constraint.LINK, f"a load starts at {start_s} s on {node}, whose link is busy to {busy_until_s} s"
                )
            busy_until_s = max(busy_until_s, read_s)


def one_replica(case: Case) -> Iterator[Violation]:
    """A model has at most one replica at a time on an accelerator, but for those that the snapshot already has."""
    spans: dict[tuple[str, str], list[Residency]] = defaultdict(list)
    for residency in case.plan.residencies:
        spans[residency.accelerator, residency.model].append(residency)
    for (accelerator, model), found in spans.items():
        found.sort(key=lambda residency: (not residency.initial, residency.load_start_s))
        for earlier, later in pairwise(found):
            if later.initial:
                continue
            if earlier.end_s is None or later.load_start_s < earlier.end_s - TOLERANCE_S:
                yield Violation(Constraint.ONE_REPLICA, f"{model} has two replicas at once on {accelerator}")


def endings(case: Case) -> Iterator[Violation]:
    """Pinned models stay, and no residency ends under a stage that runs now."""
    for position, residency in enumerate(case.plan.residencies):
        model = case.snapshot.models.get(residency.model)
        pinned = model is not None and residency.accelerator in model.pinned_on and position not in case.draining
        if pinned and residency.end_s is not None:
            yield Violation(
                Constraint.PINNED,
                f"{residency.model} is pinned on {residency.accelerator} but leaves at {residency.end_s} s",
            )
        if residency.initial and residency.end_s is not None:
            yield from _cut_short(case, residency, residency.end_s)


def _cut_short(case: Case, residency: Residency, end_s: float) -> Iterator[Violation]:
    """Stages running on an initial residency that its end would cut."""
    loading = any(
        replica.phase is ReplicaPhase.LOADING and stands_for(residency, replica)
        for replica in case.accelerators[residency.accelerator].replicas
    )
    if loading and end_s < residency.ready_s - TOLERANCE_S:
        yield Violation(Constraint.LOAD, f"the load of {residency.model} on {residency.accelerator} is given up")
    for stage in case.snapshot.running:
        on_it = (stage.accelerator, stage.model) == (residency.accelerator, residency.model)
        if on_it and not loading and end_s < stage.remaining_s - TOLERANCE_S:
            yield Violation(
                Constraint.BUSY_REPLICA,
                f"{residency.model} leaves {residency.accelerator} at {end_s} s while {stage.key} runs to"
                f" {stage.remaining_s} s",
            )
