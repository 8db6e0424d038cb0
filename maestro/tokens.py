"""How many tokens a prompt takes, before an engine has seen it.

Exact where the model's ``tokenizer.json`` and the ``tokenizers`` library are at hand, else an estimate that errs on
the high side. On top of the text comes what the chat template adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from maestro.workflow import ChatMessage

TokenCounter = Callable[[str], int]
"""Counts the tokens of a text."""

# Role markers and line breaks around one message; a default system prompt and the opening of the answer.
TEMPLATE_TOKENS_PER_MESSAGE = 8
TEMPLATE_TOKENS_PER_PROMPT = 32

_PIECE = re.compile(r"[A-Za-z]+|[ ]+|\s+|[^\sA-Za-z]")


def estimate_tokens(text: str) -> int:
    """Estimate from the characters alone; above the true count for prose and code, in any common vocabulary.

    A word counts a token per 3 letters begun (per 2 if it is longer than 16, as encoded data is); a digit, a mark or
    a line break counts one; other scripts count one per UTF-8 byte, which is what byte-level tokenizers fall back to.
    A single space belongs to the word behind it.
    """
    total = 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        length = len(piece)
        if piece.isalpha() and piece.isascii():
            total += -(-length // 3) if length <= 16 else -(-length // 2)
        elif piece.isspace():
            total += 0 if piece == " " else -(-length // 2)
        else:
            total += len(piece.encode("utf-8", "replace"))
    return total


def count_prompt_tokens(messages: Iterable[ChatMessage], count: TokenCounter = estimate_tokens) -> int:
    """Count the tokens of a whole chat prompt, what the template adds included."""
    total = TEMPLATE_TOKENS_PER_PROMPT
    for message in messages:
        total += TEMPLATE_TOKENS_PER_MESSAGE + count(message.content)
    return total


def read_token_counter(folder: Path) -> TokenCounter:
    """Return an exact counter for the model in ``folder``, or the estimate where its tokenizer cannot be read."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return estimate_tokens
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - optional: only schedulers that see the model's files have it
    except ImportError:
        return estimate_tokens
    tokenizer = Tokenizer.from_file(str(file))

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
