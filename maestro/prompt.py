"""Prompts: earlier stages' outputs are put in, made harmless, and cut to the model's context where that is allowed.

A quoted output is data. It is put in once: a placeholder inside it stays text (see ``maestro.placeholders``), and the
model's control tokens in it are broken up (see ``maestro.special_tokens``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from maestro.errors import InvalidInputError, MaestroError
from maestro.placeholders import Literal, Quote, parse, quoted_stages
from maestro.special_tokens import Span, SpecialTokens
from maestro.tokens import TokenCounter, count_prompt_tokens, estimate_tokens
from maestro.workflow import ChatMessage, ContextPolicy

__all__ = ["ContextLimitError", "FittedPrompt", "fit_context", "quoted_stages", "render"]

CUT_MARK = "[...] "
MAX_CHARS_PER_TOKEN = 32  # no text worth quoting packs more; bounds the work done on an output of megabytes


class ContextLimitError(MaestroError):
    """A prompt leaves no room for output in the model's context."""


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits. ``output_tokens``: room for the output, min(max_tokens, context - prompt).

    ``prompt_tokens`` is as the counter counts it; ``cut_chars`` how much quoted text was left out.
    """

    messages: tuple[ChatMessage, ...]
    prompt_tokens: int
    output_tokens: int
    cut_chars: int = 0


def render(
    messages: Sequence[ChatMessage], outputs: Mapping[str, str], special_tokens: SpecialTokens
) -> tuple[ChatMessage, ...]:
    """Fill in the placeholders from ``outputs`` (by stage id); raises InvalidInputError where an output is missing."""
    return _Template(messages, outputs, special_tokens).filled()


def fit_context(
    messages: Sequence[ChatMessage],
    outputs: Mapping[str, str],
    special_tokens: SpecialTokens,
    *,
    policy: ContextPolicy,
    context_tokens: int,
    max_tokens: int,
    count: TokenCounter = estimate_tokens,
) -> FittedPrompt:
    """Render a prompt that leaves room for output in a context of ``context_tokens``.

    FAIL raises ContextLimitError where the prompt leaves no room at all. TRUNCATE_OLDEST cuts quoted texts, the first
    in the prompt first and each from its start, until ``max_tokens`` fit behind the prompt; it raises where even the
    prompt without any quoted text leaves no room.
    """
    template = _Template(messages, outputs, special_tokens)
    cuts: Sequence[int] = template.no_cuts
    if policy is ContextPolicy.TRUNCATE_OLDEST:
        cuts = _cuts_to_fit(template, max(0, context_tokens - max_tokens), count)
    filled = template.filled(cuts)
    if sum(len(message.content) for message in filled) > context_tokens * MAX_CHARS_PER_TOKEN:
        raise _too_long(f"over {context_tokens}", context_tokens)
    prompt_tokens = count_prompt_tokens(filled, count)
    if prompt_tokens >= context_tokens:
        raise _too_long(f"about {prompt_tokens}", context_tokens)
    return FittedPrompt(filled, prompt_tokens, min(max_tokens, context_tokens - prompt_tokens), sum(cuts))


class _Template:
    """Messages, split at their quotes, with the outputs to put there."""

    def __init__(
        self, messages: Sequence[ChatMessage], outputs: Mapping[str, str], special_tokens: SpecialTokens
    ) -> None:
        self._messages = [(message.role, tuple(parse(message.content))) for message in messages]
        self._special_tokens = special_tokens
        self.quoted = [
            _output(outputs, piece.stage)
            for _, pieces in self._messages
            for piece in pieces
            if isinstance(piece, Quote)
        ]
        self.no_cuts = (0,) * len(self.quoted)

    def filled(self, cuts: Sequence[int] | None = None) -> tuple[ChatMessage, ...]:
        """Fill in the outputs; ``cuts`` says how many characters each quote loses at its start."""
        shown = iter([_cut(text, cut) for text, cut in zip(self.quoted, cuts or self.no_cuts, strict=True)])
        return tuple(ChatMessage(role, self._content(pieces, shown)) for role, pieces in self._messages)

    def _content(self, pieces: Sequence[Literal | Quote], shown: Iterator[str]) -> str:
        """Join one message, and break up the control tokens that touch what was quoted."""
        texts: list[str] = []
        data: list[Span] = []
        position = 0
        for piece in pieces:
            text = piece.text if isinstance(piece, Literal) else next(shown)
            if isinstance(piece, Quote):
                data.append((position, position + len(text)))
            texts.append(text)
            position += len(text)
        joined = "".join(texts)
        return self._special_tokens.break_up(joined, data) if data else joined


def _cuts_to_fit(template: _Template, budget_tokens: int, count: TokenCounter) -> Sequence[int]:
    """Find the least cuts, first quote first, with which the prompt takes at most ``budget_tokens``."""
    cuts = [max(0, len(text) - budget_tokens * MAX_CHARS_PER_TOKEN) for text in template.quoted]

    def fits_with(index: int, cut: int) -> bool:
        tried = [*cuts[:index], cut, *cuts[index + 1 :]]
        return count_prompt_tokens(template.filled(tried), count) <= budget_tokens

    for index, text in enumerate(template.quoted):
        if fits_with(index, cuts[index]):
            break
        if not fits_with(index, len(text)):
            cuts[index] = len(text)
            continue
        least, most = cuts[index], len(text)
        cuts[index] = least + bisect_left(range(least, most), True, key=partial(fits_with, index))
        break
    return cuts


def _cut(text: str, cut: int) -> str:
    """Leave ``cut`` characters out at the start, and say so; a text of which nothing is left takes no room at all."""
    return CUT_MARK + text[cut:] if 0 < cut < len(text) else text[cut:]


def _output(outputs: Mapping[str, str], stage: str) -> str:
    """Look up an output."""
    try:
        return outputs[stage]
    except KeyError:
        raise InvalidInputError(
            "messages", f"quote the output of '{stage}', which is not there", remedy=f"add '{stage}' to after"
        ) from None


def _too_long(tokens: str, context_tokens: int) -> ContextLimitError:
    return ContextLimitError(
        f"the prompt takes {tokens} tokens and the context holds {context_tokens}, output included; "
        "shorten the prompt, quote less, or set context_policy to truncate_oldest"
    )
