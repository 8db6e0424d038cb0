"""The workflows that are run on real engines: a few shapes, with forced lengths and texts that repeat nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from maestro.workflow import ChatMessage, LlmStage, Sampling, WorkflowSpec

APP = "validation"
WARM_UP_APP = "warm-up"

WORDS = (
    *("river", "stone", "market", "winter", "bridge", "paper", "garden", "engine", "letter", "cloud", "harbour"),
    *("window", "forest", "copper", "island", "signal", "barley", "mirror", "tunnel", "candle", "meadow", "anchor"),
    *("pocket", "silver", "thunder", "basket", "ladder", "orchard", "pepper", "violin"),
)

OWN_WORDS = (20, 220)
"""Bounds of the words of a prompt that are its own, about a token each."""

OUTPUT_TOKENS = (8, 90)

Shape = tuple[tuple[str, int, tuple[str, ...]], ...]
"""A workflow's stages: id, index of the model that runs it, ids of the stages before it."""

SHAPES: tuple[Shape, ...] = (
    (("draft", 0, ()), ("review", 1, ("draft",)), ("revise", 0, ("review",))),
    (
        ("plan", 0, ()),
        ("first", 0, ("plan",)),
        ("second", 1, ("plan",)),
        ("third", 1, ("plan",)),
        ("join", 0, ("first", "second", "third")),
    ),
    (("ask", 1, ()), ("for", 0, ("ask",)), ("against", 1, ("ask",)), ("judge", 1, ("for", "against"))),
)


@dataclass(frozen=True, slots=True)
class TimedWorkflow:
    """A workflow and when it is submitted, seconds from the first one on."""

    at_s: float
    spec: WorkflowSpec


def workload(models: tuple[str, ...], workflows: int, rate_per_s: float, seed: int) -> Iterator[TimedWorkflow]:
    """Poisson arrivals of ``workflows`` in all; equal seeds give equal workloads, texts included.

    ``models``: which ones run the stages; a shape's indices wrap around where there are fewer.
    """
    random = Random(f"workload/{seed}")
    at_s = 0.0
    for number in range(workflows):
        yield TimedWorkflow(at_s, _workflow(models, number, random))
        at_s += random.expovariate(rate_per_s)


def warm_up(model: str, number: int) -> WorkflowSpec:
    """A call that has a model loaded and its engine past its first, slower steps."""
    random = Random(f"warm-up/{model}/{number}")
    return WorkflowSpec(WARM_UP_APP, (_stage("call", model, (), random),))


def _workflow(models: tuple[str, ...], number: int, random: Random) -> WorkflowSpec:
    shape = SHAPES[number % len(SHAPES)]
    stages = tuple(_stage(name, models[index % len(models)], after, random) for name, index, after in shape)
    return WorkflowSpec(APP, stages, labels={"number": str(number)})


def _stage(name: str, model: str, after: tuple[str, ...], random: Random) -> LlmStage:
    """A call whose prompt begins with words of its own, so that engines find no prefix that they have read before."""
    words = " ".join(random.choices(WORDS, k=random.randint(*OWN_WORDS)))
    quotes = "\n".join(f"{{{{{before}.output}}}}" for before in after)
    messages = (ChatMessage("system", " ".join(random.choices(WORDS, k=8))), ChatMessage("user", f"{words}\n{quotes}"))
    tokens = random.randint(*OUTPUT_TOKENS)
    sampling = Sampling(temperature=0.0, min_tokens=tokens, ignore_eos=True)
    return LlmStage(name, name, (model,), messages, tokens, after, sampling=sampling)
