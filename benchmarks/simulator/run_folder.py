"""A folder with all that one observed run has left: what it ran with, its trace, and what was measured beside it."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.simulator.workload import WARM_UP_APP
from maestro.errors import InvalidInputError
from maestro.scenario import Scenario, load
from maestro.trace import TraceCall, read_trace


@dataclass(frozen=True, slots=True)
class Load:
    """How long a model took to load on an accelerator, seconds."""

    model: str
    accelerator: str
    load_s: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What a trace does not tell: with which arguments and when the run was made, and how long loads took."""

    seed: int
    workflows: int
    rate_per_s: float
    date: str
    machine: str
    loads: tuple[Load, ...]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of a run by name."""

    path: Path

    @property
    def scenario_file(self) -> Path:
        """The scenario as it was run, with a store of its own."""
        return self.path / "scenario.yaml"

    @property
    def calibrated_file(self) -> Path:
        """The same with the speeds that were fitted to the run."""
        return self.path / "calibrated.yaml"

    @property
    def recording_file(self) -> Path:
        """The trace while it is recorded."""
        return self.path / "trace.jsonl"

    @property
    def trace_file(self) -> Path:
        """Every call of the run."""
        return self.path / "trace.jsonl.gz"

    def scenario(self) -> Scenario:
        """What was run; raises InvalidInputError where nothing was."""
        self._require(self.scenario_file, "observe")
        return load(self.scenario_file)

    def calls(self) -> tuple[TraceCall, ...]:
        """The recorded calls, warm-up included, in the order in which their workflows arrived."""
        self._require(self.trace_file, "observe")
        return tuple(sorted(read_trace(self.trace_file), key=lambda call: (call.arrival_s or 0.0, call.step)))

    def keep_trace(self) -> None:
        """The recording is whole: it becomes the trace."""
        self.trace_file.write_bytes(gzip.compress(self.recording_file.read_bytes(), mtime=0))
        self.recording_file.unlink()

    def write_scenario(self, source: Path) -> None:
        """Copy a scenario so that it means the same from here, and keeps its state here."""
        found = load(source)
        values = YAML(typ="safe").load(source.read_text())
        for model, section in zip(values["models"], found.models, strict=True):
            model["path"] = os.path.relpath(section.path, self.path)
        values["engine"] |= {"python": os.path.relpath(found.engine.python, self.path), "log_dir": "logs"}
        values["scheduler"]["store"] = "store.sqlite"
        self._write_yaml(values, self.scenario_file)

    def write_calibrated(self, speeds: dict[tuple[str, str], dict[str, float]]) -> None:
        """Write the scenario anew with other speeds, by model and kind of accelerator."""
        values = YAML(typ="safe").load(self.scenario_file.read_text())
        for model in values["models"]:
            for kind, known in model["speeds"].items():
                model["speeds"][kind] = {**known, **speeds.get((model["name"], kind), {})}
        self._write_yaml(values, self.calibrated_file)

    def write_observation(self, observation: Observation) -> None:
        """Keep it."""
        self.write_json("observation.json", asdict(observation))

    def observation(self) -> Observation:
        """What was kept; raises InvalidInputError where there is none."""
        values = self.read_json("observation.json", "observe")
        return Observation(**{**values, "loads": tuple(Load(**found) for found in values["loads"])})

    def write_json(self, name: str, values: dict[str, Any]) -> None:
        """Write a file of the folder."""
        (self.path / name).write_text(json.dumps(values, indent=1) + "\n")

    def read_json(self, name: str, command: str) -> dict[str, Any]:
        """Read a file of the folder; raises InvalidInputError where ``command`` has not written it."""
        self._require(self.path / name, command)
        found: dict[str, Any] = json.loads((self.path / name).read_text())
        return found

    def validated(self, share: float) -> set[str]:
        """The workflows of the later part: those that nothing is fitted to. ``share`` is that of the earlier part."""
        arrived = list(dict.fromkeys(call.workflow_id for call in self.calls() if call.app != WARM_UP_APP))
        return set(arrived[round(share * len(arrived)) :])

    def _require(self, file: Path, command: str) -> None:
        if not file.is_file():
            raise InvalidInputError(
                "run",
                f"has no {file.name}",
                value=str(self.path),
                remedy=f"run {command} first, or name another folder",
            )

    @staticmethod
    def _write_yaml(values: object, path: Path) -> None:
        with path.open("w") as file:
            YAML(typ="safe").dump(values, file)
