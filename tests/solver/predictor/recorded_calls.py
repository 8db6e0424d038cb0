"""A made trace of a two-role loop whose reviser repeats what its prompt holds, and artefacts trained on it."""

from __future__ import annotations

import random

from maestro.trace import Ending, TraceCall
from maestro_solver.predictor.artefact import Artefact
from maestro_solver.predictor.training.settings import TrainingSettings
from maestro_solver.predictor.training.train import trained

QUICK = TrainingSettings(epochs=6, batch=64, hidden=32, members=2, intervals=6, threads=1)


def loop(workflow: int, seed: int, rounds: int = 4, app: str = "writers") -> list[TraceCall]:
    """A workflow whose text has a length of its own: reviews are about 50 tokens, revisions as long as the text."""
    generator = random.Random(f"{seed}-{workflow}")
    text_tokens = generator.randint(100, 900)
    calls: list[TraceCall] = []
    for step in range(2 * rounds):
        revises = step % 2 == 1
        output = round(generator.gauss(text_tokens, 10)) if revises else generator.randint(35, 65)
        calls.append(
            TraceCall(
                workflow_id=f"{app}-{seed}-{workflow}",
                app=app,
                step=step,
                role="reviser" if revises else "reviewer",
                phase="loop",
                model="m",
                prompt_tokens=200 + text_tokens + (60 if revises else 0),
                completion_tokens=output,
                parents=(step - 1,) if step else (),
                prompt_head="Revise the text" if revises else "Review the text",
                prompt_chars=4 * text_tokens,
                response_chars=4 * output,
                ending=Ending.STOP,
                source="made",
            )
        )
    return calls


def loops(count: int, seed: int, app: str = "writers") -> list[TraceCall]:
    """Several workflows, one after the other."""
    return [call for workflow in range(count) for call in loop(workflow, seed, app=app)]


def quickly_trained(calls: list[TraceCall], settings: TrainingSettings = QUICK) -> Artefact:
    """An artefact that took a second to train."""
    return trained(calls, settings, {"date": "2026-01-01", "command": "test", "sources": []}, lambda *_: None)
