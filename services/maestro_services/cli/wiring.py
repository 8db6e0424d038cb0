"""From a scenario to what a node and the capacity planner are started with."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from maestro.errors import InvalidInputError
from maestro.scenario import ConfiguredNode, Scenario
from maestro.scenario.models import ModelSection

if TYPE_CHECKING:
    from maestro_node.config import EngineSettings, ModelSource, NodeConfig
    from maestro_solver.capacity import CapacityProblem


def node_config(scenario: Scenario, name: str, scenario_file: Path, scheduler_address: str) -> NodeConfig:
    """Return what the agent of node ``name`` is started with.

    Raises InvalidInputError for a node that the scenario lacks, and for one that has the weights of no model.
    """
    from maestro_node.config import NodeConfig

    node = scenario.nodes.get(name)
    if node is None:
        raise InvalidInputError(
            "name", "is not a node of the scenario", value=name, remedy=f"use one of {', '.join(scenario.nodes)}"
        )
    return NodeConfig(
        cluster=node.cluster,
        node=node.spec,
        models=scenario.model_specs,
        sources=_sources(scenario, node),
        engine=_engine_settings(scenario, node, scenario_file),
        listen_address=node.listen,
        advertise_address=node.listen,
        scheduler_address=scheduler_address,
    )


def capacity_problem(scenario: Scenario) -> CapacityProblem:
    """Return the scenario's demand on its fleet; raises InvalidInputError where it states none."""
    from maestro_solver.capacity import CapacityProblem, Demand

    if not scenario.workload:
        raise InvalidInputError("workload", "is empty", remedy="state the demand to size the fleet for")
    demands = tuple(
        Demand(
            name=demand.name,
            model=demand.model,
            requests_per_s=demand.requests_per_s,
            prompt_tokens=demand.prompt_tokens,
            output_tokens=demand.output_tokens,
            max_latency_s=demand.max_latency_s,
        )
        for demand in scenario.workload
    )
    return CapacityProblem(scenario.fleet_spec(), demands)


def _sources(scenario: Scenario, node: ConfiguredNode) -> dict[str, ModelSource]:
    """Find the models whose weights this machine has; a simulated engine needs none."""
    from maestro_node.config import ModelSource

    here = [model for model in scenario.models if node.engine == "simulated" or _has_weights(model)]
    if not here:
        missing = scenario.models[0]
        raise InvalidInputError(
            f"models.{missing.name}.path",
            "holds no model, and neither does any other model's path",
            value=str(missing.path),
            remedy="bring one with `maestro model import`",
        )
    return {
        model.name: ModelSource(model.path, model.engine_name, extra_arguments=tuple(model.engine_args))
        for model in here
    }


def _has_weights(model: ModelSection) -> bool:
    return (model.path / "config.json").is_file()


def _engine_settings(scenario: Scenario, node: ConfiguredNode, scenario_file: Path) -> EngineSettings:
    from maestro_node.config import EngineKind, EngineSettings

    engine = scenario.engine
    return EngineSettings(
        kind=EngineKind(node.engine),
        python=engine.python or Path(),
        runtime_dir=_runtime_folder(scenario_file, node.name),
        log_dir=engine.log_dir,
        enforce_eager=engine.enforce_eager,
        start_timeout_s=engine.start_timeout_s,
        stop_timeout_s=engine.stop_timeout_s,
        hang_timeout_s=engine.hang_timeout_s,
        nice=engine.nice,
        enable_sleep=engine.sleep,
    )


def _runtime_folder(scenario_file: Path, node: str) -> Path:
    """Return the folder for sockets and records of running engines: the same after a restart, and short.

    A unix socket's path may not pass 107 characters, which a project folder's easily would.
    """
    base = os.environ.get("XDG_RUNTIME_DIR") or str(Path(tempfile.gettempdir()) / f"maestro-{os.getuid()}")
    identity = hashlib.sha256(f"{scenario_file.resolve()}\0{node}".encode()).hexdigest()[:12]
    return Path(base) / f"maestro-node-{identity}"
