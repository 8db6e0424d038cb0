"""``maestro check``: what is wrong with a file, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from maestro.document import Document
    from maestro.scenario import Scenario

_Errors = tuple[InvalidInputError, ...]


@dataclass(frozen=True, slots=True)
class _Findings:
    """What kind of file it is, what makes it invalid, and what may be right although it looks wrong from here."""

    kind: str
    problems: _Errors
    warnings: _Errors = ()


def check(
    file: Annotated[Path, typer.Argument(help="A scenario or a workflow, YAML or JSON.")],
    scenario: Annotated[
        Path | None, typer.Option(help="Also check a workflow's models, SLO class and size against this scenario.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="A scenario is for this machine: what it lacks is a problem, not a warning.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a scenario or workflow file; every problem names its line, its key and what to do."""
    found = _find(file, scenario)
    if here:
        found = _Findings(found.kind, (*found.problems, *found.warnings))
    report = {
        "file": file,
        "kind": found.kind,
        "problems": [_parts(file, problem) for problem in found.problems],
        "warnings": [_parts(file, warning) for warning in found.warnings],
    }
    emit(report, as_json=as_json, view=_view(file, found))
    if found.problems:
        raise typer.Exit(ExitCode.INVALID_INPUT)


def _view(file: Path, found: _Findings) -> str:
    lines = [str(problem) for problem in found.problems] or [f"{file}: a valid {found.kind}"]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in found.warnings)])


def _parts(file: Path, error: InvalidInputError) -> dict[str, object]:
    """Return file, line and key apart, which errors carry as 'file:line: key'."""
    line, _, key = error.field.removeprefix(str(file)).removeprefix(":").partition(":")
    return {
        "file": str(file),
        "line": int(line) if line.isdigit() else None,
        "key": key.strip(),
        "problem": error.problem,
        "value": None if error.value is None else str(error.value),
        "remedy": error.remedy,
    }


def _find(file: Path, scenario: Path | None) -> _Findings:
    """Return what kind of file it is and everything that was found in it."""
    from maestro.document import read_document
    from maestro.scenario import find_machine_problems, find_problems

    try:
        document = read_document(file)
    except InvalidInputError as error:
        return _Findings("document", (error,))
    if isinstance(document.data, dict) and "stages" in document.data:
        return _of_workflow(document, scenario)
    problems = find_problems(file)
    return _Findings("scenario", problems, () if problems else find_machine_problems(file))


def _of_workflow(document: Document, scenario_file: Path | None) -> _Findings:
    """Return what is wrong; without a scenario, whatever names the workflow uses are fine."""
    from maestro.scenario import load
    from maestro.validation import WorkflowLimits
    from maestro.workflow_file import find_problems

    if scenario_file is None:
        return _Findings("workflow", find_problems(document, limits=WorkflowLimits()))
    scenario = load(scenario_file)
    problems = find_problems(
        document,
        limits=scenario.workflow_limits,
        models=scenario.models_by_name,
        slo_classes=scenario.slo_classes_by_name,
    )
    return _Findings("workflow", problems, () if problems else _too_long(document, scenario))


def _too_long(document: Document, scenario: Scenario) -> _Errors:
    """Return the stages whose output at its limit fits the context of none of their models."""
    from maestro.workflow import LlmStage
    from maestro.workflow_file import workflow_from_document

    found = []
    for index, stage in enumerate(workflow_from_document(document).stages):
        if not isinstance(stage, LlmStage):
            continue
        longest = max(scenario.model_specs[model].context_tokens for model in stage.models)
        if stage.max_tokens >= longest:
            problem = f"leaves no room for a prompt in the context of {longest} tokens"
            path = ("stages", index, "max_tokens")
            found.append(document.error(path, problem, value=stage.max_tokens, remedy="lower it"))
    return tuple(found)
