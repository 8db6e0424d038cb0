"""Prompts: earlier stages' outputs are put in, made harmless, and cut to the model's context where that is allowed.

A quoted output is data. It is put in once: a placeholder inside it stays text (see ``maestro.placeholders``), and the
model's control tokens in it are broken up (see ``maestro.special_tokens``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from maestro.errors import InvalidInputError, MaestroError
from maestro.placeholders import Literal, Quote, parse, quoted_stages
from maestro.special_tokens import Span, SpecialTokens
from maestro.tokens import TokenCounter, count_prompt_tokens, estimate_tokens
from maestro.truncation import longest_within
from maestro.workflow import ChatMessage, ContextPolicy

__all__ = ["ContextLimitError", "FittedPrompt", "fit_context", "quoted_stages", "render"]

CUT_MARK = "[...] "
MAX_CHARS_PER_TOKEN = 16  # no text worth quoting packs more; bounds the work done on an output of megabytes
HEAD_CHARS_PER_TOKEN = 6  # more than prose takes: that much of a prompt that is too long proves it
HEAD_SLACK_TOKENS = 16  # the end of the head may cut through words


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
    prompt without any quoted text leaves no room. However long the texts are, the work is that of a few counts of
    what the context holds.
    """
    template = _Template(messages, outputs, special_tokens)
    kept = template.quoted_chars
    if policy is ContextPolicy.TRUNCATE_OLDEST and template.own_chars <= context_tokens * MAX_CHARS_PER_TOKEN:
        kept = _kept_to_fit(template, max(0, context_tokens - max_tokens), count)
    if template.own_chars + kept > context_tokens * MAX_CHARS_PER_TOKEN:
        raise _too_long(f"over {context_tokens}", context_tokens)
    filled = template.filled(kept)
    if _head_is_over(filled, context_tokens, count):
        raise _too_long(f"over {context_tokens}", context_tokens)
    prompt_tokens = count_prompt_tokens(filled, count)
    if prompt_tokens >= context_tokens:
        raise _too_long(f"about {prompt_tokens}", context_tokens)
    room = context_tokens - prompt_tokens
    return FittedPrompt(filled, prompt_tokens, min(max_tokens, room), template.quoted_chars - kept)


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
        self.quoted_chars = sum(len(text) for text in self.quoted)
        self.own_chars = sum(
            len(piece.text) for _, pieces in self._messages for piece in pieces if isinstance(piece, Literal)
        )

    def filled(self, kept: int | None = None) -> tuple[ChatMessage, ...]:
        """Fill in the outputs; only the last ``kept`` characters of all that is quoted where it is given."""
        shown = self._shown(self.quoted_chars if kept is None else kept)
        return tuple(ChatMessage(role, self._content(pieces, shown)) for role, pieces in self._messages)

    def _shown(self, kept: int) -> Iterator[str]:
        """Yield each quote without what it loses at its start."""
        to_cut = self.quoted_chars - kept
        for text in self.quoted:
            cut = min(to_cut, len(text))
            to_cut -= cut
            yield _cut(text, cut)

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


def _kept_to_fit(template: _Template, budget_tokens: int, count: TokenCounter) -> int:
    """Find how many characters of the quotes, counted from the last one's end, a prompt of the budget has room for."""
    most = min(template.quoted_chars, budget_tokens * MAX_CHARS_PER_TOKEN)
    return longest_within(budget_tokens, most, lambda kept: count_prompt_tokens(template.filled(kept), count))


def _head_is_over(messages: Sequence[ChatMessage], context_tokens: int, count: TokenCounter) -> bool:
    """Whether the beginning of a long prompt is too long already, so that the rest need not be counted."""
    left = context_tokens * HEAD_CHARS_PER_TOKEN
    if sum(len(message.content) for message in messages) <= left:
        return False
    head = []
    for message in messages:
        head.append(ChatMessage(message.role, message.content[:left]))
        left -= len(head[-1].content)
    return count_prompt_tokens(head, count) > context_tokens + HEAD_SLACK_TOKENS


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
