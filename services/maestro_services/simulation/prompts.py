"""Prompts in a simulation: their lengths are known, their texts are not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maestro.fleet import ModelSpec
from maestro.prompt import ContextLimitError, FittedPrompt
from maestro.status import TokenUsage
from maestro.workflow import ContextPolicy, LlmStage, WorkflowSpec


@dataclass(frozen=True, slots=True)
class SizedStage(LlmStage):
    """An LLM stage without a text.

    ``own_tokens`` is its prompt without what it quotes, ``prompt_tokens`` the whole prompt, which nobody can know
    before its predecessors have ended.
    """

    own_tokens: int = 0
    prompt_tokens: int = 0


class SizedPrompts:
    """The core's prompt source: counts are looked up instead of made."""

    def __init__(self, models: Mapping[str, ModelSpec]) -> None:
        """``models`` says how long contexts are."""
        self._models = models

    def own_tokens(self, spec: LlmStage) -> int:
        """Tokens of the stage's own text."""
        return _sized(spec).own_tokens

    def fit(self, spec: LlmStage, model: str, outputs: Mapping[str, str]) -> FittedPrompt:  # noqa: ARG002 - no texts
        """The whole prompt, cut by the stage's policy; raises ContextLimitError where it leaves no room."""
        context = self._models[model].context_tokens
        tokens = _sized(spec).prompt_tokens
        if spec.context_policy is ContextPolicy.TRUNCATE_OLDEST:
            tokens = min(tokens, max(1, context - spec.max_tokens))
        if tokens >= context:
            raise ContextLimitError(f"the prompt takes {tokens} tokens and the context holds {context}")
        return FittedPrompt((), tokens, min(spec.max_tokens, context - tokens))

    def shared_tokens(self, spec: LlmStage, before: LlmStage, usage: TokenUsage) -> int:  # noqa: ARG002 - no texts
        """None: simulated engines keep no prefixes."""
        return 0

    def count_ahead(self, spec: WorkflowSpec) -> None:
        """Nothing takes long to count."""


def _sized(spec: LlmStage) -> SizedStage:
    if not isinstance(spec, SizedStage):
        raise TypeError(f'stage "{spec.id}" has a text; a simulation takes stages of known size')
    return spec
