"""``maestro check``: what is wrong with a file, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.output import JsonOption, emit, error_parts

if TYPE_CHECKING:
    from maestro.document import Document


def check(
    file: Annotated[Path, typer.Argument(help="A scenario or a workflow, YAML or JSON.")],
    scenario: Annotated[
        Path | None, typer.Option(help="Also check a workflow's models, SLO class and size against this scenario.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a scenario or workflow file; every problem names its line, its key and what to do."""
    kind, problems = _find_problems(file, scenario)
    report = {"file": file, "kind": kind, "problems": [error_parts(problem) for problem in problems]}
    lines = "\n".join(str(problem) for problem in problems) or f"{file}: a valid {kind}"
    emit(report, as_json=as_json, view=lines)
    if problems:
        raise typer.Exit(ExitCode.INVALID_INPUT)


def _find_problems(file: Path, scenario: Path | None) -> tuple[str, tuple[InvalidInputError, ...]]:
    """Return what kind of file it is and everything that was found in it."""
    from maestro.document import read_document
    from maestro.scenario import find_problems

    try:
        document = read_document(file)
    except InvalidInputError as error:
        return "document", (error,)
    if not (isinstance(document.data, dict) and "stages" in document.data):
        return "scenario", find_problems(file)
    return "workflow", _problems_of_workflow(document, scenario)


def _problems_of_workflow(document: Document, scenario_file: Path | None) -> tuple[InvalidInputError, ...]:
    """Return what is wrong; without a scenario, whatever names the workflow uses are fine."""
    from maestro.scenario import load
    from maestro.validation import WorkflowLimits
    from maestro.workflow_file import find_problems

    if scenario_file is None:
        return find_problems(document, limits=WorkflowLimits())
    scenario = load(scenario_file)
    return find_problems(
        document,
        limits=scenario.workflow_limits,
        models=scenario.models_by_name,
        slo_classes=scenario.slo_classes_by_name,
    )
