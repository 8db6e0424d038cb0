r"""Placeholders in prompts: ``{{stage_id.output}}`` stands for an earlier stage's output.

They are logic-less: no expressions, no filters, no code. ``\{{`` (a backslash before the braces) stands for literal
``{{``. Braces that do not form a placeholder are text, so JSON and code can be written as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maestro.workflow import ChatMessage

STAGE_ID = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_TOKEN = re.compile(r"\\\{\{|\{\{\s*(" + STAGE_ID + r")\.output\s*\}\}")


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Quote:
    """A place where the output of ``stage`` is put."""

    stage: str


def parse(content: str) -> Iterator[Literal | Quote]:
    """Split a message's content into text and quotes, in order and in one pass; escaped braces come out bare."""
    if "{{" not in content:
        if content:
            yield Literal(content)
        return
    position = 0
    for match in _TOKEN.finditer(content):
        if match.start() > position:
            yield Literal(content[position : match.start()])
        yield Literal("{{") if match[1] is None else Quote(match[1])
        position = match.end()
    if position < len(content):
        yield Literal(content[position:])


def quoted_stages(messages: Sequence[ChatMessage]) -> tuple[str, ...]:
    """Name the stages that the messages quote, each once, in order of first appearance."""
    found: dict[str, None] = {}
    for message in messages:
        if "{{" in message.content:
            found.update((match[1], None) for match in _TOKEN.finditer(message.content) if match[1] is not None)
    return tuple(found)
