"""Prompts of stages, rendered, cut to the context and counted, with the counts of long texts remembered.

Counting a prompt of 128 KB takes tens of milliseconds, which nobody else is to wait for: whoever submits a workflow has
its long prompts counted ahead, in a thread. Counting is a pure function, so what the core decides is the same either
way; only the time it takes is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from threading import Lock
from typing import Protocol

from maestro.placeholders import Quote, parse
from maestro.prompt import ContextLimitError, FittedPrompt, fit_context
from maestro.status import TokenUsage
from maestro.tokens import TokenCounter
from maestro.workflow import LlmStage, WorkflowSpec
from maestro_services.scheduler.core.config import CoreConfig

LONG_PROMPT_CHARS = 8 * 1024
"""From this length on a prompt may take some milliseconds to count, by the estimate or by a tokenizer."""
LEAST_REMEMBERED_CHARS = 256
MOST_REMEMBERED = 1 << 16


CHARS_PER_TOKEN = 3.2
MESSAGE_OVERHEAD_TOKENS = 8


def estimated_tokens(chars: int, messages: int) -> int:
    """Tokens of a prompt of ``chars`` characters in ``messages`` messages, by the rule of thumb."""
    return round(chars / CHARS_PER_TOKEN) + MESSAGE_OVERHEAD_TOKENS * messages


class PromptSource(Protocol):
    """Where the core has prompts from: texts in the live service, lengths alone in the simulator."""

    def own_tokens(self, spec: LlmStage) -> int:
        """About how many tokens the stage's own text has, what it quotes left out."""

    def fit(self, spec: LlmStage, model: str, outputs: Mapping[str, str]) -> FittedPrompt:
        """The prompt for a model of the scenario, with the quoted outputs in it; raises ContextLimitError."""

    def shared_tokens(self, spec: LlmStage, before: LlmStage, usage: TokenUsage) -> int:
        """About how many tokens the prompt begins with that a call of ``before``, which took ``usage``, has read too.

        What it wrote counts as well where the prompt goes on from there.
        """

    def count_ahead(self, spec: WorkflowSpec) -> None:
        """Counts what can be counted of a workflow before it is submitted."""


class Prompts:
    """What stages say to the models of the scenario."""

    def __init__(self, config: CoreConfig) -> None:
        """``config`` gives each model's context, its control tokens and its way of counting."""
        self._models = config.fleet.models
        self._special_tokens = {name: rules.special_tokens for name, rules in config.prompts.items()}
        self._counts = {name: RememberedCounts(rules.count) for name, rules in config.prompts.items()}

    def own_tokens(self, spec: LlmStage) -> int:
        """About how many tokens the stage's own text has, by the rule of thumb."""
        return estimated_tokens(_chars(spec), len(spec.messages))

    def fit(self, spec: LlmStage, model: str, outputs: Mapping[str, str]) -> FittedPrompt:
        """The prompt for a model of the scenario, with the quoted outputs in it; raises ContextLimitError."""
        return fit_context(
            spec.messages,
            outputs,
            self._special_tokens[model],
            policy=spec.context_policy,
            context_tokens=self._models[model].context_tokens,
            max_tokens=spec.max_tokens,
            count=self._counts[model],
        )

    def shared_tokens(self, spec: LlmStage, before: LlmStage, usage: TokenUsage) -> int:
        """By the messages that both begin with, which quote the same outputs."""
        count = _equal_messages(spec, before)
        if count < len(before.messages):
            shared = before.messages[:count]
            return estimated_tokens(sum(len(message.content) for message in shared), count)
        following = spec.messages[count : count + 1]
        goes_on = any(m.role == "assistant" and tuple(parse(m.content)) == (Quote(before.id),) for m in following)
        return usage.prompt_tokens + (usage.completion_tokens if goes_on else 0)

    def count_ahead(self, spec: WorkflowSpec) -> None:
        """Counts the long prompts that are whole already, so that ``fit`` is quick for them. Any thread may call it."""
        for stage in _long_and_whole(spec):
            for model in stage.models:
                try:
                    if model in self._models:
                        self.fit(stage, model, {})
                except ContextLimitError:
                    pass  # the stage is told so when the core comes to it


def has_long_prompts(spec: WorkflowSpec) -> bool:
    """Whether there is anything to be counted ahead."""
    return any(True for _ in _long_and_whole(spec))


def _long_and_whole(spec: WorkflowSpec) -> Iterator[LlmStage]:
    """The stages with a long prompt that quote nothing, since nothing comes before them."""
    for stage in spec.stages:
        if isinstance(stage, LlmStage) and not stage.after and _chars(stage) >= LONG_PROMPT_CHARS:
            yield stage


def _equal_messages(spec: LlmStage, before: LlmStage) -> int:
    """How many messages two stages begin with alike."""
    count = 0
    for one, other in zip(spec.messages, before.messages, strict=False):
        if one != other:
            break
        count += 1
    return count


def _chars(stage: LlmStage) -> int:
    return sum(len(message.content) for message in stage.messages)


class RememberedCounts:
    """A token counter that remembers what it has counted of all but short texts, by their hash; the oldest go first."""

    def __init__(self, count: TokenCounter) -> None:
        """``count`` is asked for what is not known."""
        self._count = count
        self._known: dict[bytes, int] = {}
        self._lock = Lock()

    def __call__(self, text: str) -> int:
        """The tokens of a text."""
        if len(text) < LEAST_REMEMBERED_CHARS:
            return self._count(text)
        key = sha256(text.encode("utf-8", "surrogatepass")).digest()
        tokens = self._known.get(key)
        return self._remember(key, self._count(text)) if tokens is None else tokens

    def _remember(self, key: bytes, tokens: int) -> int:
        with self._lock:
            self._known[key] = tokens
            if len(self._known) > MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        return tokens
