"""The files in scenarios/: they hold, every key is explained, and what is derived from the models is fresh."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from maestro.document import read_document
from maestro.errors import InvalidInputError
from maestro.scenario import find_problems, load
from maestro.scenario.reference import reference
from maestro.scenario.schema import json_schema
from maestro.validation import validate
from maestro.workflow_file import load_workflow

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
WORKFLOWS = sorted((ROOT / "scenarios" / "workflows").glob("*.yaml"))
NAMES = [path.stem for path in SCENARIOS]


def test_that_the_scenarios_are_there():
    assert {"laptop", "one_node_4x80gb", "one_node_8x80gb", "two_clusters_mixed", "four_clusters_64"} <= set(NAMES)


@pytest.mark.parametrize("path", SCENARIOS, ids=NAMES)
def test_that_a_shipped_scenario_has_no_problem(path):
    assert find_problems(path) == ()


@pytest.mark.parametrize("path", SCENARIOS, ids=NAMES)
def test_that_every_key_is_commented_where_it_first_appears(path):
    document, texts = read_document(path), path.read_text().splitlines()
    first: dict[tuple[str, ...], int] = {}
    for keys, line in sorted(document.lines.items(), key=lambda item: item[1]):
        named = tuple(key for key in keys if isinstance(key, str))
        if keys and isinstance(keys[-1], str):
            first.setdefault(_kindless(named), line)
    bare = {".".join(keys): line for keys, line in first.items() if "# " not in texts[line - 1]}
    assert bare == {}


def _kindless(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys under ``speeds`` and ``per_cluster`` are names of the file's own."""
    return tuple(
        "<name>" if index and keys[index - 1] in ("speeds", "per_cluster") else key for index, key in enumerate(keys)
    )


def test_that_the_laptop_scenario_shows_every_key_but_those_that_have_no_place_in_it():
    shown = {key for keys in read_document(ROOT / "scenarios" / "laptop.yaml").lines for key in keys}
    known = {key for section in _objects(json_schema("scenario")) for key in section["properties"]}
    assert known - shown == {"count", "artefact"}


def _objects(schema):
    return [schema, *(section for section in schema["$defs"].values() if "properties" in section)]


def test_that_on_the_laptop_the_two_models_compete_for_each_accelerator():
    scenario = load(ROOT / "scenarios" / "laptop.yaml")
    needed = {name: model.fixed_bytes + model.kv_pool_bytes for name, model in scenario.model_specs.items()}
    for accelerator in scenario.fleet.accelerators():
        assert max(needed.values()) <= accelerator.memory_bytes < sum(needed.values())
    assert len({model.path for model in scenario.models}) == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [("one_node_4x80gb", 4), ("one_node_8x80gb", 8), ("two_clusters_mixed", 8), ("four_clusters_64", 64)],
)
def test_that_fleets_have_the_size_their_names_say(name, count):
    assert len(list(load(ROOT / "scenarios" / f"{name}.yaml").fleet.accelerators())) == count


@pytest.mark.parametrize("path", SCENARIOS, ids=NAMES)
def test_that_the_schema_accepts_a_shipped_scenario(path):
    assert path.read_text().startswith("# yaml-language-server: $schema=scenario.schema.json\n")
    jsonschema.validate(read_document(path).data, json_schema("scenario"))


def test_that_the_schema_refuses_an_unknown_key():
    data = read_document(SCENARIOS[0]).data
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "fleets": {}}, json_schema("scenario"))


@pytest.mark.parametrize("name", ["scenario", "workflow"])
def test_that_every_key_of_a_schema_has_a_description(name):
    missing = [
        f"{section.get('title', '')}.{key}"
        for section in _objects(json_schema(name))
        for key, value in section["properties"].items()
        if not value.get("description")
    ]
    assert missing == []


@pytest.mark.parametrize(("name", "folder"), [("scenario", "scenarios"), ("workflow", "scenarios/workflows")])
def test_that_committed_schemas_are_fresh(name, folder):
    committed = json.loads((ROOT / folder / f"{name}.schema.json").read_text())
    assert committed == json_schema(name), "run: python -m maestro.scenario"


def test_that_the_reference_of_keys_is_fresh():
    assert (ROOT / "docs" / "scenarios.md").read_text() == reference(), "run: python -m maestro.scenario"


def test_that_an_unknown_schema_is_refused():
    with pytest.raises(InvalidInputError, match="did you mean 'scenario'"):
        json_schema("scenarios")


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_that_a_shipped_workflow_is_accepted_on_the_laptop(path):
    scenario = load(ROOT / "scenarios" / "laptop.yaml")
    spec = load_workflow(path)
    validate(
        spec,
        limits=scenario.workflow_limits,
        models=scenario.models_by_name,
        slo_classes=scenario.slo_classes_by_name,
    )
    jsonschema.validate(read_document(path).data, json_schema("workflow"))
    assert re.search(r"^# yaml-language-server: \$schema=workflow.schema.json$", path.read_text(), re.MULTILINE)
