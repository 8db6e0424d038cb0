"""What has changed in a fleet from one look at its nodes to the next, as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maestro.fleet import place_text
from maestro.snapshot import ReplicaPhase
from maestro_services.cli.fleet_client import NodeView, ReplicaView

_Seen = dict[tuple[str, str, int], ReplicaView]


class FleetNews:
    """Remembers the last look. What was there at the first one is no news, but for what has failed."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._replicas: _Seen = {}

    def look(self, nodes: Iterable[NodeView]) -> Iterator[str]:
        """Yield a line for each node that came or went, and for each model that loads, serves, failed or is gone."""
        states, replicas = {}, {}
        for node in nodes:
            states[node.name] = node.state
            for accelerator in node.accelerators:
                for replica in accelerator.replicas:
                    replicas[accelerator.name, replica.model, replica.generation] = replica
        for name, state in states.items():
            if self._states.get(name, state) != state:
                yield f"{name} is {state}"
        yield from self._replica_news(replicas)
        self._states, self._replicas = states, replicas

    def _replica_news(self, replicas: _Seen) -> Iterator[str]:
        for key, replica in replicas.items():
            before = self._replicas.get(key)
            if before is None or before.phase is not replica.phase:
                yield _line(place_text(key[0], *replica.peers), replica)
        present = {(accelerator, model) for accelerator, model, _ in replicas}
        for (accelerator, model, _), before in self._replicas.items():
            if (accelerator, model) not in present and before.phase is not ReplicaPhase.FAILED:
                yield f"{model} is gone from {place_text(accelerator, *before.peers)}"


def _line(place: str, replica: ReplicaView) -> str:
    match replica.phase:
        case ReplicaPhase.LOADING:
            return f"{replica.model} loads on {place}"
        case ReplicaPhase.READY:
            return f"{replica.model} is ready on {place} after {replica.load_s:.0f} s"
        case ReplicaPhase.FAILED:
            return f"{replica.model} failed on {place}: {replica.detail or 'no reason given'}"
        case phase:
            return f"{replica.model} is {phase} on {place}"
