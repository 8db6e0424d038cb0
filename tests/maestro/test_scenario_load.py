"""Scenario files: what they become, and how each mistake is pointed at."""

import pytest
from scenario_text import SMALL, changed, line_of, written

from maestro.errors import InvalidInputError
from maestro.fleet import GpuBudget
from maestro.scenario import find_problems, load
from maestro.snapshot import ObjectiveWeights


def test_that_a_scenario_becomes_fleet_models_and_weights(tmp_path):
    scenario = load(written(tmp_path, SMALL))
    fleet = scenario.fleet_spec()
    assert fleet.budget == GpuBudget(1)
    assert fleet.clusters[0].nodes[0].accelerators[0].memory_bytes == 24 * 2**30
    assert fleet.models["small"].weights_bytes == 6_000_000_000
    assert fleet.models["small"].speeds["k"].start_s == 10
    assert scenario.objective_weights == ObjectiveWeights()
    assert scenario.reference_kind == "k"
    assert scenario.nodes["box"].listen == "127.0.0.1:7001"
    assert scenario.nodes["box"].engine == "simulated"


def test_that_paths_are_relative_to_the_file_and_links_are_kept(tmp_path):
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    scenario = load(written(tmp_path, SMALL + "  python: link\n"))
    assert scenario.engine.python == tmp_path / "link"
    assert scenario.models[0].path == tmp_path / "models" / "small"
    assert scenario.scheduler.store == tmp_path / "maestro.sqlite"
    assert scenario.engine.log_dir == tmp_path / "logs"


def test_that_counts_expand_to_numbered_nodes_and_accelerators(tmp_path):
    text = changed("name: box\n", "name: box\n          count: 2\n").replace("127.0.0.1:7001", "box-{index}:7001")
    scenario = load(written(tmp_path, text.replace("name: gpu,", "name: gpu, count: 2,")))
    assert [node.listen for node in scenario.nodes.values()] == ["box-0:7001", "box-1:7001"]
    assert [accelerator.name for accelerator in scenario.fleet.accelerators()] == [
        "box-0-gpu-0",
        "box-0-gpu-1",
        "box-1-gpu-0",
        "box-1-gpu-1",
    ]
    assert scenario.fleet_spec().budget.total == 4


MISTAKES = {
    "an unknown key": ("max_batch: 8", "max_bach: 8", "max_bach", r"unknown key; did you mean 'max_batch'\?"),
    "a missing key": ("    overhead: 1 GiB\n", "", "- name: small", r"models\[0\].overhead: is required"),
    "a duplicate key": (
        "max_batch: 8",
        "max_batch: 8\n    weights: 1 GB",
        "weights: 1 GB",
        r"twice \(first on line 16\)",
    ),
    "a wrong unit": ("memory: 24 GiB", "memory: 24 gigs", "24 gigs", r"unknown unit 'gigs'"),
    "a negative size": ("weights: 6 GB", "weights: -6 GB", "-6 GB", r"must be finite and not negative"),
    "a zero": ("memory: 24 GiB", "memory: 0", "memory: 0", r"must be greater than 0"),
    "a text for a number": (
        "max_batch: 8",
        "max_batch: eight",
        "max_batch: eight",
        r"max_batch: should be a valid integer",
    ),
    "a flag for a number": ("slots: 8", "slots: true", "slots: true", r"slots: should be a valid integer"),
    "an infinite number": ("batch_slope: 0.1", "batch_slope: .inf", ".inf", r"finite number"),
    "a bad name": ("name: here", "name: he re", "he re", r"clusters\[0\].name: is not a name .*use letters"),
    "a bad address": ("127.0.0.1:7001", "127.0.0.1", "listen", r"listen: is not host:port"),
    "a port that would wrap": ("127.0.0.1:7001", "127.0.0.1:99999", "listen", r"a port that does not exist"),
    "a port that nobody chose": ("127.0.0.1:7001", "127.0.0.1:0", "listen", r"a port that does not exist"),
    "an unknown kind": ("k: {prefill", "kk: {prefill", "kk: {prefill", r"unknown accelerator kind .*did you mean 'k'"),
    "an unknown default class": (
        "default_slo_class: standard",
        "default_slo_class: standrad",
        "standrad",
        r"unknown SLO class \(got 'standrad'\); did you mean 'standard'",
    ),
    "a model too large": (
        "weights: 6 GB",
        "weights: 60 GB",
        "- name: small",
        r"small fits no accelerator: .* take 57.88 GiB, .*\(gpu\) has 24 GiB; lower kv_pool",
    ),
    "a pool under one context": ("kv_pool: 1 GiB", "kv_pool: 4 MB", "kv_pool", r"less than one context of 4096 tokens"),
    "a pin on nothing": ("max_batch: 8", "max_batch: 8\n    pinned_on: [gpux]", "pinned_on", r"unknown accelerator"),
    "a vLLM node without interpreter": ("kind: simulated", "kind: vllm", "engine:", r"engine.python: is required"),
    "an unknown engine": ("kind: simulated", "kind: tgi", "tgi", r"should be 'vllm' or 'simulated'"),
    "a wrong version": ("version: 1", "version: 2", "version", r"version: should be 1"),
    "a list for a section": ("engine:\n  kind: simulated", "engine: []", "engine", r"must be a group of keys"),
    "underivable figures": (
        "    weights: 6 GB\n",
        "",
        "- name: small",
        r"weights: is left out, and no safetensors file",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_that_a_mistake_is_pointed_at_with_file_line_and_key(tmp_path, mistake):
    old, new, fragment, message = MISTAKES[mistake]
    text = changed(old, new)
    path = written(tmp_path, text)
    with pytest.raises(InvalidInputError, match=message) as caught:
        load(path)
    assert caught.value.field.startswith(f"{path}:{line_of(text, fragment)}: ")


ADDITIONS = {
    "a budget over the fleet": (
        "  gpu_budget: {total: 2}\n",
        r"exceeds the fleet's 1 accelerators \(got 2\); at most 1",
    ),
    "a budget over a cluster": ("  gpu_budget: {per_cluster: {here: 3}}\n", r"exceeds the cluster's 1 accelerators"),
    "a budget of no cluster": ("  gpu_budget: {per_cluster: {her: 1}}\n", r"unknown cluster .*did you mean 'here'"),
    "an unknown reference": ("  reference_accelerator: kk\n", r"unknown accelerator kind"),
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_that_the_fleet_section_is_checked_against_itself(tmp_path, addition):
    extra, message = ADDITIONS[addition]
    with pytest.raises(InvalidInputError, match=message):
        load(written(tmp_path, changed("models:\n", f"{extra}models:\n")))


def test_that_duplicate_names_and_addresses_are_found_where_they_stand_again(tmp_path):
    node = SMALL[SMALL.index("        - name: box") : SMALL.index("models:")]
    text = changed("models:\n", f"{node}models:\n")
    problems = find_problems(written(tmp_path, text))
    assert [problem.problem for problem in problems] == ["duplicate node", "duplicate address", "duplicate accelerator"]
    second = text[: text.rindex("- name: box")].count("\n") + 1
    assert [int(problem.field.split(":")[1]) - second for problem in problems] == [0, 1, 6]


def test_that_a_counted_node_needs_an_index_and_no_fixed_cores(tmp_path):
    text = changed("name: box\n", "name: box\n          count: 2\n").replace("slots: 8", "slots: 8, cpu_cores: [0]")
    problems = [problem.problem for problem in find_problems(written(tmp_path, text))]
    assert "does not suit the node's count" in problems
    assert "would bind several accelerators to the same cores" in problems


def test_that_demand_is_for_models_that_exist(tmp_path):
    demand = (
        "workload:\n- {name: d, model: smal, requests_per_s: 1, prompt_tokens: 1, output_tokens: 1, max_latency: 1}\n"
    )
    with pytest.raises(InvalidInputError, match=r"workload\[0\].model: unknown model .*did you mean 'small'"):
        load(written(tmp_path, SMALL + demand))


def test_that_one_folder_holds_one_revision(tmp_path):
    model = SMALL[SMALL.index("  - name: small") : SMALL.index("slo_classes:")]
    other = model.replace("name: small", "name: other\n    revision: v2")
    with pytest.raises(InvalidInputError, match=r"models\[1\].revision: another model says"):
        load(written(tmp_path, changed("slo_classes:\n", f"{other}slo_classes:\n")))


def test_that_all_problems_are_found_at_once_in_the_order_of_lines(tmp_path):
    text = (
        SMALL.replace("slots: 8", "slots: 0").replace("max_batch: 8", "max_batch: 0").replace("weight: 1", "weight: 0")
    )
    lines = [int(problem.field.split(":")[1]) for problem in find_problems(written(tmp_path, text))]
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_that_falling_quantiles_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="quantiles must not fall"):
        load(written(tmp_path, SMALL + "predictor: {prior: {p50: 5, p90: 4, p95: 9}}\n"))
