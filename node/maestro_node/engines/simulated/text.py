"""What the simulated engine answers: words drawn from a seed, as many as the request asks for."""

from __future__ import annotations

import hashlib
import random

from maestro_node.engines.interface import FinishReason, GenerationRequest

_WORDS = (
    "plan",
    "code",
    "test",
    "review",
    "check",
    "merge",
    "name",
    "draw",
    "sum",
    "list",
    "find",
    "sort",
    "say",
    "so",
)
_CHARACTERS_PER_TOKEN = 4


def prompt_tokens(request: GenerationRequest) -> int:
    """Length of the prompt, about as a tokenizer would count it, tokens."""
    return sum(4 + len(message.content) // _CHARACTERS_PER_TOKEN for message in request.messages)


def answer(request: GenerationRequest, seed: int, room_tokens: int) -> tuple[list[str], FinishReason]:
    """Return the output, one text a token, and how it ends; the same for the same seed and request id.

    ``room_tokens`` is what the context leaves for the output.
    """
    generator = random.Random(_seed_of(request, seed))  # noqa: S311 - a simulation, no secret
    limit = min(request.max_tokens, room_tokens)
    natural = max(request.sampling.min_tokens or 1, int(generator.lognormvariate(4.0, 0.8)))
    count = limit if request.sampling.ignore_eos else min(natural, limit)
    words = [generator.choice(_WORDS) for _ in range(count)]
    tokens = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    return tokens, FinishReason.STOP if count < limit else FinishReason.LENGTH


def _seed_of(request: GenerationRequest, seed: int) -> int:
    """A seed of its own for every request."""
    own = request.sampling.seed if request.sampling.seed is not None else request.id
    return int.from_bytes(hashlib.sha256(f"{seed}|{own}".encode()).digest()[:8], "big")
