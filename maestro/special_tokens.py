"""A model's control tokens, and how they are made harmless in text that is data.

``<|im_start|>system`` written in plain text tokenises to the real control token: an agent's output that is quoted in
another agent's prompt could so forge a system message. Each control token that touches quoted text therefore gets a
space after its first character (``< |im_start|>``). A visible space is used rather than an invisible character because
some tokenizers drop those, and because people and models can still read what was meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Span = tuple[int, int]

# What the chat templates of common model families use, for models whose own list is not at hand.
_COMMON = (
    r"<[|\uff5c][^<>|\uff5c\s]{1,64}[|\uff5c]>|</?s>|\[/?INST\]|<</?SYS>>|\[/?(?:TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\]"
    r"|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|mask)>"
)


@dataclass(frozen=True)
class SpecialTokens:
    """The control tokens of one model; None: not known, then those of common model families are meant.

    Tokens of a single character cannot be broken up and are left alone.
    """

    tokens: frozenset[str] | None = None

    @cached_property
    def _starts(self) -> re.Pattern[str] | None:
        """Matches the character that a token begins with; the token itself, the longest possible, is group 1."""
        if self.tokens is None:
            alternatives = _COMMON
        else:
            longest_first = sorted((token for token in self.tokens if len(token) > 1), key=len, reverse=True)
            alternatives = "|".join(re.escape(token) for token in longest_first)
        return re.compile(f"(?=({alternatives}))(?s:.)") if alternatives else None

    def break_up(self, text: str, data: Sequence[Span] | None = None) -> str:
        """Break every control token in ``text`` that touches one of the ``data`` spans; None: all of it is data.

        A token that arises where two pieces of data meet is broken as well. Control tokens outside data stay.
        """
        if self._starts is None:
            return text

        def broken(match: re.Match[str]) -> str:
            harmless = data is not None and not _touches(match.span(1), data)
            return match[0] if harmless else f"{match[0]} "

        return self._starts.sub(broken, text)


def read_special_tokens(folder: Path) -> SpecialTokens:
    """Read the control tokens of the model in ``folder``; unknown where none of its tokenizer files names any."""
    found: set[str] = set()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # each of the three files is optional, and what one lacks another has
        if isinstance(content, dict):
            found.update(_named_tokens(content))
    return SpecialTokens(frozenset(found) if found else None)


def _named_tokens(content: dict[str, Any]) -> Iterable[str]:
    """Yield the control tokens that one tokenizer file names, in any of the places they are written to."""
    added = [*_items(content.get("added_tokens")), *_items(content.get("added_tokens_decoder"))]
    yield from (str(token["content"]) for token in added if isinstance(token, dict) and token.get("special"))
    for key, value in content.items():
        if key.endswith("_token") or key in ("additional_special_tokens", "extra_special_tokens"):
            for token in [value] if isinstance(value, str | dict) and "content" in value else _items(value):
                text = token.get("content") if isinstance(token, dict) else token
                if isinstance(text, str) and text:
                    yield text


def _items(value: object) -> Sequence[Any]:
    """List a value's members, whatever it is: those of a list, the values of a mapping, a text alone."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value.values())
    return [value] if isinstance(value, str) else []


def _touches(span: Span, others: Sequence[Span]) -> bool:
    start, end = span
    return any(start < other_end and other_start < end for other_start, other_end in others)
