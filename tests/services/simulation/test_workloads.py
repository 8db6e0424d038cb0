"""Workloads: shapes from traces and families, arrivals, maps, deadlines."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, takewhile
from random import Random

import numpy as np
import pytest
from scipy.stats import ks_2samp
from simulated_world import QUIET, experiment

from maestro.errors import InvalidInputError
from maestro.performance import stage_s
from maestro.trace import TraceCall
from maestro.workflow import ToolStage
from maestro_services.simulation.prompts import SizedStage
from maestro_services.simulation.workload import families
from maestro_services.simulation.workload.arrivals import Process, arrivals, replayed
from maestro_services.simulation.workload.models_map import parse, recorded, spread
from maestro_services.simulation.workload.source import WorkloadModel, workflows
from maestro_services.simulation.workload.template import Template, TemplateStage, templates_of


def call(step: int, *parents: int, output: int = 10, **changes: object) -> TraceCall:
    fields: dict[str, object] = {"workflow_id": "w", "app": "essays", "role": "writer", "phase": "", "model": ""}
    fields |= {"step": step, "parents": parents, "prompt_tokens": 100, "completion_tokens": output, **changes}
    return TraceCall(**fields)  # type: ignore[arg-type]


def test_a_traces_dag_is_kept() -> None:
    (template,) = templates_of([call(0), call(1, 0), call(2, 0), call(3, 1, 2)])
    assert {stage.id: stage.parents for stage in template.stages} == {
        "s0": (),
        "s1": ("s0",),
        "s2": ("s0",),
        "s3": ("s1", "s2"),
    }


def test_parents_that_stand_later_come_first_and_empty_calls_are_bridged() -> None:
    (template,) = templates_of([call(0, 2), call(1), call(2, 1, output=0)])
    assert [(stage.id, stage.parents) for stage in template.stages] == [("s1", ()), ("s0", ("s1",))]


def test_a_deadline_is_the_class_factor_times_the_true_critical_path() -> None:
    stages = (
        TemplateStage("a", "writer", "", (), 1000, 100),
        TemplateStage("b", "writer", "", ("a",), 1500, 200, pause_s=7.0),
        TemplateStage("c", "writer", "", ("a",), 1200, 10),
    )
    made = experiment((Template("essays", stages),))
    specs = made.scenario.model_specs
    source = WorkloadModel(made.templates, made.models_map, specs, "a100-80gb", QUIET)
    (arrival,) = islice(workflows(source, iter([5.0]), seed=1), 1)
    speed = specs[made.models_map["essays", "writer"]].speeds["a100-80gb"]
    path_s = stage_s(speed, 1000, 100) + 7.0 + stage_s(speed, 1500, 200)
    factor = {"interactive": 2.0, "standard": 4.0, "batch": 10.0}[arrival.spec.slo_class]
    assert arrival.spec.deadline_after_s == pytest.approx(factor * path_s)
    assert any(isinstance(stage, ToolStage) and stage.duration_s == 7.0 for stage in arrival.spec.stages)


def test_equal_seeds_give_equal_workflows_at_any_rate() -> None:
    made = experiment()
    source = WorkloadModel(made.templates, made.models_map, made.scenario.model_specs, "a100-80gb", QUIET)
    slow, fast = (
        [found.truths for found in islice(workflows(source, arrivals(Process.POISSON, rate, Random(1)), 1), 20)]
        for rate in (0.1, 10.0)
    )
    assert slow == fast


@pytest.mark.parametrize("process", [Process.POISSON, Process.BURSTY])
def test_arrivals_come_at_their_rate(process: Process) -> None:
    instants = list(islice(arrivals(process, 4.0, Random(1)), 20_000))
    assert instants == sorted(instants)
    assert len(instants) / instants[-1] == pytest.approx(4.0, rel=0.1)


def test_bursty_arrivals_are_burstier() -> None:
    gaps = {
        process: np.diff(list(islice(arrivals(process, 1.0, Random(1)), 5000)))
        for process in (Process.POISSON, Process.BURSTY)
    }
    variation = {process: float(np.std(found) / np.mean(found)) for process, found in gaps.items()}
    assert variation[Process.POISSON] == pytest.approx(1.0, abs=0.1)
    assert variation[Process.BURSTY] > 2.0


def test_diurnal_arrivals_come_more_often_in_one_half_of_the_day() -> None:
    days_s = 2 * 86_400.0
    instants = np.array(list(takewhile(lambda at_s: at_s < days_s, arrivals(Process.DIURNAL, 0.2, Random(1)))))
    assert np.mean(instants % 86_400.0 < 43_200.0) == pytest.approx(0.5 + 0.6 / np.pi, abs=0.03)
    assert len(instants) / days_s == pytest.approx(0.2, rel=0.05)


def test_recorded_arrivals_keep_their_pattern_at_another_rate() -> None:
    assert list(replayed([10.0, 11.0, 14.0], None)) == [0.0, 1.0, 4.0]
    assert list(replayed([10.0, 11.0, 14.0], 1.0)) == [0.0, 0.5, 2.0]


def test_the_default_map_spreads_roles_over_models() -> None:
    made = experiment()
    assert set(spread(made.templates, made.scenario.model_specs).values()) == set(made.scenario.model_specs)


def test_a_map_is_read_and_a_wrong_one_refused() -> None:
    models = experiment().scenario.model_specs
    assert parse("essays/writer=qwen2.5-14b", models) == {("essays", "writer"): "qwen2.5-14b"}
    with pytest.raises(InvalidInputError, match="unknown model"):
        parse("essays/writer=nothing", models)
    with pytest.raises(InvalidInputError, match="app/role=model"):
        parse("writer", models)


def test_draws_follow_the_quantiles_they_were_fitted_to() -> None:
    generator, random = np.random.default_rng(1), Random(1)
    seen = np.round(generator.lognormal(5.0, 1.0, 4000)).astype(int)
    quantiles = [round(value) for value in np.quantile(seen, np.linspace(0.0, 1.0, 41))]
    drawn = [families.draw(quantiles, random) for _ in range(4000)]
    assert ks_2samp(seen, drawn).statistic < 0.05


def test_an_unknown_family_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidInputError, match="agents"):
        families.family("nothing")


def test_a_short_context_leaves_half_of_itself_to_the_prompt() -> None:
    """Tests that prompts of a model whose context is shorter than the general bound keep their lengths."""
    made = experiment((Template("essays", (TemplateStage("a", "writer", "", (), 900, 1500),)),))
    specs = {name: replace(spec, context_tokens=2048) for name, spec in made.scenario.model_specs.items()}
    source = WorkloadModel(made.templates, made.models_map, specs, "a100-80gb", QUIET)
    (arrival,) = islice(workflows(source, iter([0.0]), seed=1), 1)
    (stage,) = arrival.spec.stages
    assert isinstance(stage, SizedStage)
    assert (arrival.truths["a"].prompt_tokens, stage.max_tokens) == (900, 1024)


def test_a_recorded_trace_runs_on_the_models_it_ran_on() -> None:
    """Tests a role that ran as one model of the scenario, one that ran as two, and one of a model that is not there."""
    specs = experiment().scenario.model_specs
    one, two = list(specs)[:2]
    ran_as = {"writer": (one, one), "critic": (one, two), "judge": ("gpt-4", "gpt-4")}
    calls = [call(0, role=role, model=model) for role, models in ran_as.items() for model in models]
    assert recorded(calls, specs) == {("essays", "writer"): one}
