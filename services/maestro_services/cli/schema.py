"""``maestro schema``: JSON Schemas for editors."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maestro_services.cli.output import emit_json


class SchemaName(StrEnum):
    """Files that have a schema."""

    SCENARIO = "scenario"
    WORKFLOW = "workflow"


def schema(
    name: Annotated[SchemaName, typer.Argument(help="Which file the schema is for.")],
) -> None:
    """Print the JSON Schema of a file, for completion in editors."""
    from pydantic import BaseModel

    from maestro.scenario import Scenario
    from maestro.workflow_file import WorkflowFile

    models: dict[SchemaName, type[BaseModel]] = {SchemaName.SCENARIO: Scenario, SchemaName.WORKFLOW: WorkflowFile}
    emit_json(models[name].model_json_schema())
