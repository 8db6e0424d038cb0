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

_PIECE = re.compile(r"(?P<word> ?[A-Za-z]+)|(?P<space>\s+)|(?P<other>[^\sA-Za-z])")
_CASE_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")


def estimate_tokens(text: str) -> int:
    """Estimate from the characters alone; above the true count for prose and code, in any common vocabulary.

    A word, with the space before it, counts a token per 3 letters begun; where its case changes inside, as in encoded
    data, runs of up to 4 letters count one per letter. A digit or a mark counts one, white space one per 2 characters,
    and other scripts one per UTF-8 byte, which is what byte-level tokenizers fall back to.
    """
    total = 0
    for match in _PIECE.finditer(text):
        if match.lastgroup == "word":
            total += _word_tokens(match[0].strip())
        elif match.lastgroup == "space":
            total += -(-len(match[0]) // 2)
        else:
            total += len(match[0].encode("utf-8", "replace"))
    return total


def _word_tokens(word: str) -> int:
    """Estimate the tokens of a run of ASCII letters."""
    if word.islower() or word.istitle() or word.isupper():
        return -(-len(word) // 3)
    runs = (len(run) for run in _CASE_RUN.findall(word))
    return sum(length if length <= 4 else -(-length // 3) for length in runs)


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
        return len(tokenizer.encode(text, add_special_tokens=False))

    return count
