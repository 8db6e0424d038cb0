"""What a node agent writes down about each engine it starts, so that the next agent can reap it after a crash.

One JSON file a replica in the private runtime folder. An auditor may read them too: they name the processes whose
memory a replica accounts for and the socket that answers ``/metrics``.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from maestro_node.engines.process_identity import ProcessIdentity

RECORD_SUFFIX = ".replica.json"


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """A started engine. ``leader`` leads its own session; ``members`` are the processes seen once it was ready.

    ``marker`` is the ``NAME=value`` entry that its processes were started with. ``boot_id`` names the machine's boot.
    ``folder`` is private to the replica and holds its ``socket`` and whatever its processes leave behind.
    ``peers`` names the accelerators that it takes beside ``accelerator``.
    """

    id: str
    accelerator: str
    model: str
    generation: int
    uid: int
    boot_id: str
    marker: str
    folder: str
    log: str
    kv_pool_bytes: int
    peers: tuple[str, ...] = ()
    leader: ProcessIdentity | None = None
    members: tuple[ProcessIdentity, ...] = field(default=())

    @property
    def socket(self) -> Path:
        """Where the engine's HTTP server listens."""
        return Path(self.folder) / "engine.sock"


def write_record(runtime_dir: Path, record: ReplicaRecord) -> None:
    """Store the record, whole or not at all."""
    path = _path(runtime_dir, record.id)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record)), encoding="utf-8")
    partial.replace(path)


def remove_record(runtime_dir: Path, record: ReplicaRecord) -> None:
    """Forget the record; idempotent."""
    _path(runtime_dir, record.id).unlink(missing_ok=True)


def read_records(runtime_dir: Path) -> tuple[ReplicaRecord, ...]:
    """All records of the folder, ordered by file name; none where the folder does not exist."""
    records = []
    for path in sorted(runtime_dir.glob(f"*{RECORD_SUFFIX}")):
        with suppress(FileNotFoundError):  # the agent may forget a record while an auditor reads them
            records.append(_parse(path))
    return tuple(records)


def _path(runtime_dir: Path, record_id: str) -> Path:
    return runtime_dir / f"{record_id}{RECORD_SUFFIX}"


def _parse(path: Path) -> ReplicaRecord:
    """Read one record back."""
    content = json.loads(path.read_text(encoding="utf-8"))
    leader = content.pop("leader")
    members = content.pop("members")
    peers = content.pop("peers", ())
    return ReplicaRecord(
        **content,
        peers=tuple(peers),
        leader=None if leader is None else ProcessIdentity(**leader),
        members=tuple(ProcessIdentity(**member) for member in members),
    )
