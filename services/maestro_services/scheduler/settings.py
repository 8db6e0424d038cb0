"""What the scheduler's service is started with, taken from a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maestro.scenario import Scenario
from maestro.special_tokens import read_special_tokens
from maestro.tokens import read_token_counter
from maestro.validation import WorkflowLimits
from maestro_services.scheduler.core import CoreConfig, PromptRules, RetryPolicy, SloClass
from maestro_solver.heuristics.dispatch import URGENCY
from maestro_solver.planner import PlannerConfig
from maestro_solver.predictor import PredictorConfig


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """``listen`` is host:port; ``submit_queue`` and ``watcher_buffer`` are bounds, see the scenario's keys.

    ``trained``: the trained predictor forecasts, with the network in ``artefact`` (None: the one that ships).
    """

    listen: str
    store: Path
    store_synchronous: str
    submit_queue: int
    watcher_buffer: int
    limits: WorkflowLimits
    core: CoreConfig
    planner: PlannerConfig
    predictor: PredictorConfig
    trained: bool = False
    artefact: Path | None = None


def settings_of(scenario: Scenario) -> SchedulerSettings:
    """The settings that a scenario describes. Reads the models' tokenizers where they are at hand."""
    service, planner = scenario.scheduler, scenario.planner
    return SchedulerSettings(
        listen=service.listen,
        store=service.store,
        store_synchronous=service.store_synchronous,
        submit_queue=service.submit_queue,
        watcher_buffer=service.watcher_buffer,
        limits=scenario.workflow_limits,
        core=core_config_of(scenario),
        planner=PlannerConfig(
            limit_s=planner.limit_s,
            horizon_s=planner.horizon_s,
            tick_s=planner.tick_s,
            max_exact_stages=planner.max_exact_stages,
            workers=planner.workers,
            seed=planner.seed,
            deterministic=planner.deterministic,
        ),
        predictor=PredictorConfig(
            prior=scenario.predictor.prior.forecast(), shrinkage_outputs=scenario.predictor.shrinkage
        ),
        trained=scenario.predictor.forecasts == "trained",
        artefact=scenario.predictor.artefact,
    )


def core_config_of(scenario: Scenario) -> CoreConfig:
    """The core's part of the settings."""
    service, planner = scenario.scheduler, scenario.planner
    return CoreConfig(
        fleet=scenario.fleet_spec(),
        slo_classes={
            found.name: SloClass(found.name, found.deadline_factor, found.weight) for found in scenario.slo_classes
        },
        default_slo_class=scenario.default_slo_class,
        reference_kind=scenario.reference_kind,
        weights=scenario.objective_weights,
        horizon_s=planner.horizon_s,
        tick_s=planner.tick_s,
        max_snapshot_stages=planner.max_stages,
        min_plan_interval_s=planner.min_interval_s,
        drift=planner.drift,
        retry=RetryPolicy(service.max_attempts, service.retry_backoff_s, service.max_losses),
        lease_ttl_s=service.lease_ttl_s,
        tool_expected_s=service.tool_expected_s,
        reservation_quantile=scenario.predictor.reservation_quantile,
        starts=URGENCY if planner.decides == "residency" else None,
        commit_s=planner.commit_window_s,
        starvation_after_s=planner.starvation_after_s,
        least_shares={tenant.name: tenant.least_share for tenant in scenario.tenants},
        prompts={
            model.name: PromptRules(read_special_tokens(model.path), read_token_counter(model.path))
            for model in scenario.models
        },
    )
