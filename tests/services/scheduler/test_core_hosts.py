"""The index of replicas: which accelerators have a model."""

from __future__ import annotations

from maestro.fleet import AcceleratorSpec
from maestro.snapshot import ReplicaPhase
from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.hosts import Hosts
from maestro_services.scheduler.core.replica_records import ReplicaRecord


def fleet() -> dict[str, AcceleratorRecord]:
    names = ("b", "a", "c")
    return {name: AcceleratorRecord(AcceleratorSpec(name, "sim", 1 << 30, 4), "node", "here") for name in names}


def replica(model: str) -> ReplicaRecord:
    return ReplicaRecord(model, 1, ReplicaPhase.READY, 1, 0.0)


def test_hosts_stand_in_the_fleets_order_whenever_their_replicas_came() -> None:
    accelerators = fleet()
    hosts = Hosts(accelerators)
    for name in ("c", "a", "b"):
        hosts.put(accelerators[name], replica("writer"))
    assert [found.spec.name for found in hosts.of("writer")] == ["b", "a", "c"]


def test_what_is_removed_or_cleared_hosts_no_more() -> None:
    accelerators = fleet()
    hosts = Hosts(accelerators)
    for name in accelerators:
        hosts.put(accelerators[name], replica("writer"))
        hosts.put(accelerators[name], replica("critic"))
    hosts.remove(accelerators["a"], "writer")
    hosts.clear(accelerators["c"])
    assert [found.spec.name for found in hosts.of("writer")] == ["b"]
    assert [found.spec.name for found in hosts.of("critic")] == ["b", "a"]
    assert not accelerators["c"].replicas
    assert hosts.of("nobody") == ()
