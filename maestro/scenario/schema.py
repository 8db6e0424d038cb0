"""JSON Schemas of the files that people write, for editors and validators."""

from __future__ import annotations

from typing import Any

from maestro.errors import InvalidInputError
from maestro.scenario.root import Scenario
from maestro.section import Section, suggest
from maestro.workflow_file import WorkflowFile

_FILES: dict[str, type[Section]] = {"scenario": Scenario, "workflow": WorkflowFile}


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of 'scenario' or 'workflow' files; raises InvalidInputError for another name."""
    if name not in _FILES:
        raise InvalidInputError("schema", "no such kind of file", value=name, remedy=suggest(name, [*_FILES], "known"))
    schema = _FILES[name].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Maestro {name}", **_untitled(schema)}


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop the titles that pydantic derives from attribute names: the file's keys speak for themselves."""
    return {
        key: _untitled(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
