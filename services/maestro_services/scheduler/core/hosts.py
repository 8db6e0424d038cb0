"""Which accelerators have a replica of a model: kept up to date, so that large fleets need not be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maestro_services.scheduler.core.accelerator_records import AcceleratorRecord
from maestro_services.scheduler.core.replica_records import ReplicaRecord


class Hosts:
    """Puts replicas on accelerators and takes them off. Nobody else changes ``AcceleratorRecord.replicas``."""

    def __init__(self, accelerators: Mapping[str, AcceleratorRecord]) -> None:
        """``accelerators`` by name, in the fleet's order; read whenever a replica comes or goes."""
        self._accelerators = accelerators
        self._by_model: dict[str, Sequence[AcceleratorRecord]] = {}

    def of(self, model: str) -> Sequence[AcceleratorRecord]:
        """The accelerators with a replica of the model, in whatever phase, in the fleet's order."""
        return self._by_model.get(model, ())

    def put(self, accelerator: AcceleratorRecord, replica: ReplicaRecord) -> None:
        """The accelerator has this replica of the model from now on."""
        accelerator.replicas[replica.model] = replica
        self._look_up(replica.model)

    def remove(self, accelerator: AcceleratorRecord, model: str) -> None:
        """The accelerator's replica of the model is gone."""
        del accelerator.replicas[model]
        self._look_up(model)

    def clear(self, accelerator: AcceleratorRecord) -> None:
        """All replicas of the accelerator are gone."""
        models = list(accelerator.replicas)
        accelerator.replicas.clear()
        for model in models:
            self._look_up(model)

    def _look_up(self, model: str) -> None:
        self._by_model[model] = [found for found in self._accelerators.values() if model in found.replicas]
