"""The main job on two real vLLM engines: three shapes, a model swap, and a kill -9 of the scheduler in the middle."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from audit import Audit, outgrown_tokens
from deployment import ROOT, Deployment, deployment, still_there
from plan_checks import (
    RunStage,
    check_that_loads_were_planned,
    check_that_plans_hold,
    check_that_stages_ran_where_plans_wanted,
)

from maestro.events import StageTokens
from maestro.scenario import Scenario, load
from maestro.status import StageStatus, WorkflowState, WorkflowStatus
from maestro.workflow import LlmStage, WorkflowSpec
from maestro.workflow_file import load_workflow

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(900)]

KV_BLOCK_TOKENS = 32  # --block-size in the scenario
SHAPES = ("chain", "fan_out", "diamond")


def shape(name: str, last_model: str | None = None) -> WorkflowSpec:
    """A shipped workflow; ``last_model`` replaces the model of its last stage."""
    spec = load_workflow(ROOT / "scenarios" / "workflows" / f"{name}.yaml")
    last = spec.stages[-1]
    if last_model is None or not isinstance(last, LlmStage):
        return replace(spec, slo_class="batch")
    return replace(spec, slo_class="batch", stages=(*spec.stages[:-1], replace(last, models=(last_model,))))


async def kill_while_a_stage_decodes(maestro: Deployment, workflow_id: str) -> str:
    """Kills the scheduler with SIGKILL once a stage of the workflow has brought its first tokens; returns its id."""
    async for event in maestro.client.watch(workflow_id, tokens=True):
        if isinstance(event, StageTokens):
            maestro.kill_scheduler()
            return event.stage_id
    raise AssertionError("no stage brought any token")


def run_stages(specs: list[WorkflowSpec], results: list[WorkflowStatus]) -> list[RunStage]:
    """Every stage that an engine ran, with the models it accepts."""
    return [
        RunStage(result.id, status, stage.models)
        for spec, result in zip(specs, results, strict=True)
        for stage, status in zip(spec.stages, result.stages, strict=True)
        if isinstance(stage, LlmStage)
    ]


def llm_stages(results: list[WorkflowStatus]) -> list[tuple[str, StageStatus]]:
    """Workflow id and status of every stage that an engine ran."""
    return [(result.id, stage) for result in results for stage in result.stages if stage.model]


async def test_the_main_job_runs_on_real_engines_through_a_swap_and_a_kill(tmp_path: Path) -> None:
    async with deployment(tmp_path) as maestro:
        collecting = asyncio.create_task(maestro.collect_plans())
        specs = [*(shape(name) for name in SHAPES), shape("chain", last_model="smollm2-judge")]
        ids = [await maestro.client.submit(spec) for spec in specs]
        interrupted = await kill_while_a_stage_decodes(maestro, ids[0])
        results = [(await maestro.client.result(workflow_id, timeout_s=600)).status for workflow_id in ids]
        collecting.cancel()
        processes = maestro.descendants()

    assert [result.state for result in results] == [WorkflowState.SUCCEEDED] * 4
    assert all(stage.output.strip() for _, stage in llm_stages(results))
    check_that_nothing_ran_twice(results, interrupted)
    check_that_a_model_was_swapped(results)
    scenario, audit = load(tmp_path / "scenario.yaml"), Audit(maestro.audit)
    stages, loads = run_stages(specs, results), audit.loads()
    check_that_plans_hold(maestro.lives, scenario.fleet_spec())
    check_that_loads_were_planned(maestro.lives, loads, stages)
    check_that_stages_ran_where_plans_wanted(maestro.lives, loads, stages)
    check_the_audit(audit, scenario, results)
    assert still_there(processes) == []


async def test_plans_of_residency_load_and_swap_real_engines(tmp_path: Path) -> None:
    """Tests the same engines where plans decide which models are where, and stages start as they become ready."""
    async with deployment(tmp_path, decides="residency") as maestro:
        collecting = asyncio.create_task(maestro.collect_plans())
        specs = [shape("fan_out"), shape("chain", last_model="smollm2-judge")]
        ids = [await maestro.client.submit(spec) for spec in specs]
        results = [(await maestro.client.result(workflow_id, timeout_s=600)).status for workflow_id in ids]
        collecting.cancel()

    assert [result.state for result in results] == [WorkflowState.SUCCEEDED] * 2
    assert all(stage.attempts == 1 for _, stage in llm_stages(results))
    check_that_a_model_was_swapped(results)
    scenario, audit = load(tmp_path / "scenario.yaml"), Audit(maestro.audit)
    plans = [plan for life in maestro.lives for plan in life.plans.values()]
    assert all(plan.assignments == () for plan in plans)
    check_that_plans_hold(maestro.lives, scenario.fleet_spec())
    check_that_loads_were_planned(maestro.lives, audit.loads(), run_stages(specs, results))
    check_the_audit(audit, scenario, results)


def check_that_nothing_ran_twice(results: list[WorkflowStatus], interrupted: str) -> None:
    """The stage that an engine was at when the scheduler was killed is finished by its first attempt.

    A stage whose start was durable and whose command had not left yet is sent again, as another attempt.
    """
    stages = {stage.id: stage for stage in results[0].stages}
    assert stages[interrupted].attempts == 1
    assert all(stage.attempts <= 2 for _, stage in llm_stages(results))


def check_that_a_model_was_swapped(results: list[WorkflowStatus]) -> None:
    """Three models ran on two accelerators that hold one replica each."""
    models = defaultdict(set)
    for _, stage in llm_stages(results):
        models[stage.accelerator].add(stage.model)
    assert {model for found in models.values() for model in found} == {
        "smollm2-writer",
        "smollm2-critic",
        "smollm2-judge",
    }
    assert any(len(found) > 1 for found in models.values())


def check_the_audit(audit: Audit, scenario: Scenario, results: list[WorkflowStatus]) -> None:
    """No sample shows more memory on an accelerator than it has, nor more KV in use than its stages have reserved."""
    fleet = scenario.fleet_spec()
    memory_bytes = min(a.memory_bytes for c in fleet.clusters for n in c.nodes for a in n.accelerators)
    assert len(audit.engines) > 20
    assert audit.most_held_bytes() <= memory_bytes
    assert any(line["kv_usage"] and line["kv_reserved_bytes"] for line in audit.engines)
    for model in fleet.models.values():
        outgrown = sum(outgrown_tokens(stage) for _, stage in llm_stages(results) if stage.model == model.name)
        assert audit.over_reserved(model, KV_BLOCK_TOKENS, outgrown) == []
