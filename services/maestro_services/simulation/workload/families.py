"""Synthetic workloads: made-up shapes with lengths drawn from what was fitted to recorded traces.

``families_lengths.json`` holds quantiles of prompt and output lengths by app and role, and nothing else of any trace.
Public traces are mostly chains, so the wide shapes are inventions; lengths of one workflow are drawn independently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random

from maestro.errors import InvalidInputError
from maestro_services.simulation.workload.template import Template, TemplateStage

LENGTHS_FILE = Path(__file__).with_name("families_lengths.json")

TEMPLATES = 1000
"""Workflows that a family is made of; a run draws from them."""


class _Shape:
    """A workflow in the making."""

    def __init__(self, app: str, random: Random) -> None:
        self._app = app
        self._random = random
        self._stages: list[TemplateStage] = []

    def call(self, role: str, *after: str) -> str:
        """Adds a call of a role after others, and returns its id."""
        lengths = _lengths()[f"{self._app}/{role}"]
        stage_id = f"s{len(self._stages)}"
        prompt = draw(lengths["prompt"], self._random)
        output = draw(lengths["output"], self._random)
        self._stages.append(TemplateStage(stage_id, role, role, after, prompt, output))
        return stage_id

    def template(self, name: str) -> Template:
        """The workflow."""
        return Template(name, tuple(self._stages))


def draw(quantiles: Sequence[int], random: Random) -> int:
    """A length by its quantiles at equal distances, from the least to the largest; never below 1."""
    position = random.random() * (len(quantiles) - 1)
    below = int(position)
    share = position - below
    return max(1, round(quantiles[below] + share * (quantiles[below + 1] - quantiles[below])))


def reviews(random: Random) -> Template:
    """A chain: a plan, a program, and one to three rounds of review and change."""
    shape = _Shape("chatdev", random)
    last = shape.call("Programmer", shape.call("Chief Product Officer"))
    for _ in range(random.choice((1, 1, 2, 3))):
        last = shape.call("Programmer", shape.call("Code Reviewer", last))
    return shape.template("reviews")


def fan_outs(random: Random) -> Template:
    """A plan, three to six parts at once, and a review of all of them."""
    shape = _Shape("chatdev", random)
    first = shape.call("Chief Product Officer")
    parts = [shape.call("Programmer_1", first) for _ in range(random.randint(3, 6))]
    shape.call("Code Reviewer", *parts)
    return shape.template("fan_outs")


def dialogues(random: Random) -> Template:
    """An agent and its user take turns."""
    shape = _Shape("tau2_airline", random)
    last = shape.call("user_simulator")
    for _ in range(random.randint(2, 5)):
        last = shape.call("agent", last)
        last = shape.call("user_simulator", last)
    return shape.template("dialogues")


def agents(random: Random) -> Template:
    """Reviews, fan-outs and dialogues, 4 to 3 to 3."""
    return random.choices((reviews, fan_outs, dialogues), (4, 3, 3))[0](random)


FAMILIES: Mapping[str, Callable[[Random], Template]] = {
    family.__name__: family for family in (agents, reviews, fan_outs, dialogues)
}


def family(name: str) -> tuple[Template, ...]:
    """The workflows of a family, always the same; raises InvalidInputError for a name there is none of."""
    make = FAMILIES.get(name)
    if make is None:
        raise InvalidInputError("workload", "is no family", value=name, remedy=f"use one of {', '.join(FAMILIES)}")
    random = Random(f"family/{name}")  # noqa: S311 - a simulation, no secret
    return tuple(make(random) for _ in range(TEMPLATES))


@cache
def _lengths() -> Mapping[str, Mapping[str, Sequence[int]]]:
    found: Mapping[str, Mapping[str, Sequence[int]]] = json.loads(LENGTHS_FILE.read_text())
    return found
