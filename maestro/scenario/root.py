"""The scenario as a whole, and the views of it that the parts of Maestro take."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

from pydantic import Field

from maestro.fleet import Fleet, ModelSpec
from maestro.scenario.engine import EngineSection
from maestro.scenario.fleet import ConfiguredNode, FleetSection
from maestro.scenario.models import ModelSection
from maestro.scenario.objective import ObjectiveSection
from maestro.scenario.planner import PlannerSection
from maestro.scenario.predictor import PredictorSection
from maestro.scenario.scheduler import SchedulerSection
from maestro.scenario.slo import SloClassSection
from maestro.scenario.tenants import TenantSection
from maestro.scenario.workload import DemandSection
from maestro.section import Name, Section
from maestro.snapshot import ObjectiveWeights
from maestro.validation import WorkflowLimits


class Scenario(Section):
    """A Maestro scenario. ``maestro.scenario.load`` builds one whose cross references hold."""

    version: Literal[1] = Field(description="Version of this file format: 1.")
    fleet: FleetSection = Field(description="The hardware and the budget.")
    models: tuple[ModelSection, ...] = Field(min_length=1, description="The models that workflows may name.")
    slo_classes: tuple[SloClassSection, ...] = Field(min_length=1, description="The service levels.")
    default_slo_class: Name = Field(description="Service level of workflows that name none.")
    tenants: tuple[TenantSection, ...] = Field(default=(), description="Tenants with a share of their own.")
    objective: ObjectiveSection = Field(default=ObjectiveSection(), description="What a plan is judged by.")
    planner: PlannerSection = Field(default=PlannerSection(), description="When and how plans are made.")
    predictor: PredictorSection = Field(default=PredictorSection(), description="Output-length predictor.")
    # These two hold paths, which only validation makes relative to the file.
    scheduler: SchedulerSection = Field(default={}, validate_default=True, description="The scheduler's service.")
    engine: EngineSection = Field(default={}, validate_default=True, description="How nodes start engines.")
    workload: tuple[DemandSection, ...] = Field(default=(), description="Demand for offline planning (maestro solve).")

    @cached_property
    def model_specs(self) -> Mapping[str, ModelSpec]:
        """The models as the scheduler knows them, by logical name; raises InvalidInputError (see ModelSection.spec)."""
        return {model.name: model.spec() for model in self.models}

    @cached_property
    def models_by_name(self) -> Mapping[str, ModelSection]:
        """The table logical model -> path, served name, revision, engine arguments."""
        return {model.name: model for model in self.models}

    @cached_property
    def nodes(self) -> Mapping[str, ConfiguredNode]:
        """All nodes by name, entries with a count expanded."""
        return {node.name: node for node in self.fleet.nodes(self.engine.kind, engines_sleep=self.engine.sleep)}

    @cached_property
    def slo_classes_by_name(self) -> Mapping[str, SloClassSection]:
        """The service levels by name."""
        return {slo_class.name: slo_class for slo_class in self.slo_classes}

    @property
    def objective_weights(self) -> ObjectiveWeights:
        """What a plan is judged by."""
        return self.objective.weights()

    @property
    def workflow_limits(self) -> WorkflowLimits:
        """The largest workflow that is accepted."""
        return self.scheduler.limits.limits()

    @property
    def reference_kind(self) -> str:
        """Kind of accelerator on which deadlines are derived."""
        return self.fleet.reference_kind or next(self.fleet.accelerators()).kind

    def fleet_spec(self) -> Fleet:
        """Everything there is to run on, as planner and scheduler take it."""
        engine = self.engine
        return Fleet(
            clusters=tuple(cluster.spec(engine.kind, engines_sleep=engine.sleep) for cluster in self.fleet.clusters),
            models=self.model_specs,
            network=self.fleet.network.spec(),
            budget=self.fleet.budget(),
        )
