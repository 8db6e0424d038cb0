"""Results on disk, one file a run, found again by what the run is and by the code that made it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import maestro
import maestro_node
import maestro_services.scheduler
import maestro_services.simulation
import maestro_solver
from maestro_services.simulation.experiment import Result


@dataclass(frozen=True, slots=True)
class Run:
    """One run: ``identity`` tells its experiment and policy from others."""

    identity: str
    policy: str
    seed: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A result and the version of the code it came from."""

    result: Result
    code: str


class KeptResults:
    """A folder of results. A file that cannot be read counts as missing."""

    def __init__(self, folder: Path, code: str, *, any_code: bool) -> None:
        """``any_code``: results of other versions of the code than ``code`` are taken as well."""
        self._folder = folder
        self._code = code
        self._any_code = any_code

    def find(self, run: Run) -> Kept | None:
        """What is known of a run."""
        try:
            found = json.loads(self._file(run).read_text())
            kept = Kept(found["result"], found["code"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if self._any_code or kept.code == self._code else None

    def keep(self, run: Run, result: Result) -> Kept:
        """Writes a result, whole or not at all; raises OSError where there is no room for it."""
        file = self._file(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            beside.write_text(json.dumps({"policy": run.policy, "code": self._code, "result": result}))
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        return Kept(result, self._code)

    def _file(self, run: Run) -> Path:
        return self._folder / f"{run.policy}-{run.identity}" / f"{run.seed}.json"


@cache
def code_version() -> str:
    """A digest of all code and data that can change what a simulation gives, as it is on disk now."""
    digest = hashlib.sha256()
    packages = (maestro, maestro_solver, maestro_node, maestro_services.scheduler, maestro_services.simulation)
    folders = [Path(path) for package in packages for path in package.__path__]
    for file in sorted(found for folder in folders for found in folder.rglob("*") if found.suffix in _DECIDING):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


_DECIDING = (".py", ".json", ".safetensors")
