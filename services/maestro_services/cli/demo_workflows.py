"""The demo's workflows: the shipped ones, each about several subjects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

from maestro.errors import InvalidInputError
from maestro.workflow import ChatMessage, LlmStage, Stage, WorkflowSpec
from maestro.workflow_file import load_workflow


@dataclass(frozen=True, slots=True)
class Variations:
    """A workflow file, the subject its prompts name, and what is put in the subject's place, once per workflow."""

    file: str
    subject: str
    subjects: tuple[str, ...]


_VARIATIONS = (
    Variations(
        "chain.yaml",
        "a reusable steel water bottle to hikers",
        (
            "a reusable steel water bottle to hikers",
            "a quiet mechanical keyboard to writers",
            "a folding bicycle to people who commute by train",
        ),
    ),
    Variations("fan_out.yaml", "Lisbon", ("Lisbon", "Copenhagen")),
    Variations(
        "diamond.yaml",
        "a four-day work week",
        ("a four-day work week", "an office without paper", "a weekly meeting without slides"),
    ),
)


def demo_workflows(folder: Path) -> tuple[tuple[str, WorkflowSpec], ...]:
    """Return eight workflows of three shapes, shapes interleaved, each with a short title.

    Raises InvalidInputError where a file in ``folder`` is no longer about the subject that is to be varied.
    """
    by_shape = [tuple(_varied(folder, variations)) for variations in _VARIATIONS]
    rounds = chain.from_iterable(zip_longest(*by_shape))
    return tuple(found for found in rounds if found is not None)


def _varied(folder: Path, variations: Variations) -> Iterator[tuple[str, WorkflowSpec]]:
    spec = load_workflow(folder / variations.file)
    for number, subject in enumerate(variations.subjects, start=1):
        stages = tuple(_about(stage, variations.subject, subject) for stage in spec.stages)
        if subject != variations.subject and stages == spec.stages:
            raise InvalidInputError("stages", "no prompt names the demo's subject", value=variations.subject)
        yield f"{Path(variations.file).stem.replace('_', '-')}-{number}", replace(spec, stages=stages)


def _about(stage: Stage, old: str, new: str) -> Stage:
    """Return the stage with another subject in its prompts."""
    if not isinstance(stage, LlmStage):
        return stage
    messages = tuple(ChatMessage(message.role, message.content.replace(old, new)) for message in stage.messages)
    return replace(stage, messages=messages)
