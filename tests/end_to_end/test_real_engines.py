"""The main job on two real vLLM engines: three shapes, a model swap, and a kill -9 of the scheduler in the middle."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from deployment import ROOT, Deployment, deployment

from maestro.events import StageTokens
from maestro.plan import Assignment, Plan, PlanSource
from maestro.scenario import load
from maestro.status import StageStatus, WorkflowState, WorkflowStatus
from maestro.workflow import LlmStage, WorkflowSpec
from maestro.workflow_file import load_workflow

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(900)]

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
            maestro.scheduler_process().kill()
            return event.stage_id
    raise AssertionError("no stage brought any token")


def llm_stages(results: list[WorkflowStatus]) -> list[tuple[str, StageStatus]]:
    """Workflow id and status of every stage that an engine ran."""
    return [(result.id, stage) for result in results for stage in result.stages if stage.model]


def planned_for(plans: list[Plan], workflow_id: str, stage: StageStatus) -> tuple[Plan, Assignment] | None:
    """The assignment of the stage in the last plan that was in force when it started."""
    before = [plan for plan in plans if plan.taken_at_s <= (stage.started_at_s or 0.0)]
    for plan in sorted(before, key=lambda p: p.taken_at_s, reverse=True):
        for assignment in plan.assignments:
            if assignment.stage == (workflow_id, stage.id):
                return plan, assignment
    return None


async def test_the_main_job_runs_on_real_engines_through_a_swap_and_a_kill(tmp_path: Path) -> None:
    async with deployment(tmp_path) as maestro:
        collecting = asyncio.create_task(maestro.collect_plans())
        ids = [await maestro.client.submit(shape(name)) for name in SHAPES]
        ids.append(await maestro.client.submit(shape("chain", last_model="smollm2-judge")))
        interrupted = await kill_while_a_stage_decodes(maestro, ids[0])
        results = [(await maestro.client.result(workflow_id, timeout_s=600)).status for workflow_id in ids]
        collecting.cancel()
        processes = maestro.descendants()

    assert [result.state for result in results] == [WorkflowState.SUCCEEDED] * 4
    assert all(stage.output.strip() for _, stage in llm_stages(results))
    check_that_nothing_ran_twice(results, interrupted)
    check_that_plans_were_carried_out(maestro, results)
    check_that_a_model_was_swapped(results)
    check_the_audit(tmp_path, maestro)
    assert [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def check_that_nothing_ran_twice(results: list[WorkflowStatus], interrupted: str) -> None:
    """The stage that an engine was at when the scheduler was killed is finished by its first attempt.

    A stage whose start was durable and whose command had not left yet is sent again, as another attempt.
    """
    stages = {stage.id: stage for stage in results[0].stages}
    assert stages[interrupted].attempts == 1
    assert all(stage.attempts <= 2 for _, stage in llm_stages(results))


def check_that_plans_were_carried_out(maestro: Deployment, results: list[WorkflowStatus]) -> None:
    """Plans of the solver were in force, and where they placed a stage, it ran.

    Plans are polled: one that was in force for a moment, or around the kill, may be missed, and one stage with it.
    """
    plans = list(maestro.plans.values())
    assert any(plan.provenance.source is PlanSource.CP_SAT for plan in plans)
    as_planned, otherwise = 0, 0
    for workflow_id, stage in llm_stages(results):
        found = planned_for(plans, workflow_id, stage)
        if found is not None and found[0].provenance.source is PlanSource.CP_SAT:
            fits = (stage.accelerator, stage.model) == (found[1].accelerator, found[1].model)
            as_planned, otherwise = as_planned + fits, otherwise + (not fits)
    assert as_planned >= len(llm_stages(results)) // 2
    assert otherwise <= 1
    loads = {(r.accelerator, r.model) for plan in plans for r in plan.residencies if not r.initial}
    assert {(stage.accelerator, stage.model) for _, stage in llm_stages(results)} <= loads


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


def check_the_audit(folder: Path, maestro: Deployment) -> None:
    """No sample shows more memory on an accelerator than it has, nor a KV cache over its pool."""
    scenario = load(folder / "scenario.yaml")
    memory_bytes = min(a.memory_bytes for c in scenario.fleet_spec().clusters for n in c.nodes for a in n.accelerators)
    samples = [json.loads(line) for line in maestro.audit.read_text().splitlines()]
    assert len(samples) > 20
    held: dict[tuple[str, int], int] = defaultdict(int)
    for sample in samples:
        held[sample["node"], sample["sample"]] += sample["resident_bytes"]
    assert max(held.values()) <= memory_bytes
    usages = [sample["kv_usage"] for sample in samples if sample["kv_usage"] is not None]
    assert usages
    assert max(usages) <= 1.0
    (folder / "audit_summary.json").write_text(
        json.dumps({"largest_bytes": max(held.values()), "budget_bytes": memory_bytes, "largest_kv": max(usages)})
    )
