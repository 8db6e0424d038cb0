"""``maestro schema``: JSON Schemas for editors."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maestro_services.cli.output import JsonOption, emit_json


class SchemaName(StrEnum):
    """Files that have a schema."""

    SCENARIO = "scenario"
    WORKFLOW = "workflow"


def schema(
    name: Annotated[SchemaName, typer.Argument(help="Which file the schema is for.")],
    _as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a file, for completion in editors; with --json errors are JSON, too."""
    from maestro.scenario.schema import json_schema

    emit_json(json_schema(name))
