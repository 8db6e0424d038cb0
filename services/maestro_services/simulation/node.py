"""A node in virtual time: it serves, may crash, and comes back as another instance that knows nothing of the former."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from maestro.fleet import ModelSpec, NodeSpec
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.core import outcome as do
from maestro_services.simulation.node_life import NodeLife, Surroundings


class SimulatedNode:
    """Carries commands out and reports what comes of them, as a node's agent does, while it is there."""

    def __init__(self, spec: NodeSpec, models: Mapping[str, ModelSpec], surroundings: Surroundings, seed: int) -> None:
        """``seed`` decides how much loads are off."""
        self._spec = spec
        self._models = models
        self._surroundings = surroundings
        self._random = Random(f"{seed}/{spec.name}")  # noqa: S311 - a simulation, no secret
        self._instances = 0
        self._life: NodeLife | None = None
        self._used_gib_s = 0.0
        self._preemptions = 0

    @property
    def is_up(self) -> bool:
        """Whether it is there, and sends heartbeats."""
        return self._life is not None

    def register(self) -> None:
        """Announces itself as a new instance without engines, with the weights of all models on its disk."""
        self._instances += 1
        instance = f"{self._spec.name}/{self._instances}"
        self._life = NodeLife(self._spec, instance, self._models, self._surroundings, self._random)
        name = self._spec.name
        self._surroundings.post(on.NodeRegistered(name, instance, "simulated", frozenset(self._models)))
        self._life.report()

    def crash(self) -> bool:
        """Everything that it had is gone, and nobody is told; False where it was gone already."""
        if self._life is None:
            return False
        self._life.end()
        self._used_gib_s += self._life.used_gib_s()
        self._preemptions += self._life.preemptions()
        self._life = None
        return True

    def break_engine(self, accelerator: str, share: float) -> bool:
        """An engine of the accelerator dies, chosen by ``share`` (see ``Fault``); False where there is none."""
        return self._life is not None and self._life.break_engine(accelerator, share)

    def carry_out(self, command: do.Effect) -> None:
        """Obeys a command, or refuses it as the node core says; it is lost where the node is not there."""
        if self._life is not None:
            self._life.carry_out(command)

    def used_gib_s(self) -> float:
        """The integral of the KV memory in use, GiB seconds."""
        return self._used_gib_s + (self._life.used_gib_s() if self._life is not None else 0.0)

    def preemptions(self) -> int:
        """How often a request has lost its KV memory."""
        return self._preemptions + (self._life.preemptions() if self._life is not None else 0)
