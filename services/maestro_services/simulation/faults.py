"""What breaks while a simulation runs: engines and whole nodes, at instants that no policy has any influence on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from random import Random

from maestro.errors import InvalidInputError
from maestro.fleet import Fleet

DEFAULT_REPAIR_S = 60.0
"""From a node's crash until it is back, where nothing else is said."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something breaks at ``at_s``: a node, which is back after ``repair_s``, or an engine of an accelerator.

    ``share``, from 0 to 1, tells which engine, in the order of the names of the models that are there; nothing happens
    where there is none.
    """

    at_s: float
    node: str
    accelerator: str = ""
    share: float = 0.0
    repair_s: float = DEFAULT_REPAIR_S


@dataclass(frozen=True, slots=True)
class FaultModel:
    """How often what breaks. Times between faults are drawn from an exponential distribution, from the seed alone.

    ``engine_mtbf_s``: mean time between the faults of engines on one accelerator; ``node_mtbf_s``: between a node's
    return, or the beginning, and its crash; None: never. ``repair_s``: how long a node is away. ``scheduled``: faults
    beside those.
    """

    engine_mtbf_s: float | None = None
    node_mtbf_s: float | None = None
    repair_s: float = DEFAULT_REPAIR_S
    scheduled: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse times that nothing can be drawn with."""
        for name in ("engine_mtbf_s", "node_mtbf_s", "repair_s"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise InvalidInputError(name, "must be seconds above 0", value=value)


def faults(model: FaultModel, fleet: Fleet, seed: int) -> Iterator[Fault]:
    """All faults of a run in order, without an end where there is any rate; equal seeds give equal faults."""
    streams: list[Iterator[Fault]] = [iter(sorted(model.scheduled))]
    for cluster in fleet.clusters:
        for node in cluster.nodes:
            if model.node_mtbf_s is not None:
                streams.append(_node_faults(node.name, model.node_mtbf_s, model.repair_s, seed))
            if model.engine_mtbf_s is not None:
                mtbf_s = model.engine_mtbf_s
                streams += [_engine_faults(node.name, spec.name, mtbf_s, seed) for spec in node.accelerators]
    return merge(*streams)


def scheduled(path: Path, fleet: Fleet) -> tuple[Fault, ...]:
    """The faults of a file of JSON lines: ``{"at_s": 60, "node": N}`` or ``{"at_s": 60, "accelerator": A}``.

    A node's line may have ``repair_s``, an accelerator's ``share`` (see ``Fault``). Raises InvalidInputError with file
    and line for what cannot be read, is not in the fleet, or lies before the beginning.
    """
    homes = {spec.name: node.name for c in fleet.clusters for node in c.nodes for spec in node.accelerators}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInputError(
            "faults", f"cannot be read: {why}", value=str(path), remedy="give JSON lines"
        ) from error
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    return tuple(_fault(place, line, homes) for place, line in numbered)


def _fault(place: str, line: str, homes: dict[str, str]) -> Fault:
    try:
        values = json.loads(line)
        accelerator = values.get("accelerator", "")
        node = homes[accelerator] if accelerator else values["node"]
        found = Fault(
            float(values["at_s"]),
            node,
            accelerator,
            float(values.get("share", 0.0)),
            float(values.get("repair_s", DEFAULT_REPAIR_S)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            place, "is no fault", value=line, remedy='write {"at_s": 60, "node": "..."} or name an accelerator'
        ) from error
    if node not in homes.values():
        raise InvalidInputError(place, "names no node of the fleet", value=node)
    if not (found.at_s >= 0.0 and 0.0 <= found.share <= 1.0 and found.repair_s > 0.0):
        raise InvalidInputError(place, "lies before the beginning, or is out of bounds", value=line)
    return found


def _engine_faults(node: str, accelerator: str, mtbf_s: float, seed: int) -> Iterator[Fault]:
    random, at_s = Random(f"faults/{seed}/{accelerator}"), 0.0  # noqa: S311 - a simulation, no secret
    while True:
        at_s += random.expovariate(1.0 / mtbf_s)
        yield Fault(at_s, node, accelerator, random.random())


def _node_faults(node: str, mtbf_s: float, repair_s: float, seed: int) -> Iterator[Fault]:
    random, at_s = Random(f"faults/{seed}/{node}"), 0.0  # noqa: S311 - a simulation, no secret
    while True:
        at_s += random.expovariate(1.0 / mtbf_s)
        yield Fault(at_s, node, repair_s=repair_s)
        at_s += repair_s


def chosen(models: Sequence[str], share: float) -> str | None:
    """Which of the models' engines a fault meets; None where there is none."""
    ordered = sorted(models)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
