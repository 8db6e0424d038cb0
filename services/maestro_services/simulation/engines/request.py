"""One request on a simulated engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """A request and how far it has come.

    ``prefill_work`` and ``decode_work`` are factors on the time of the performance model: the noise of this request.
    ``order`` tells who came first. ``decoded_from`` is its replica's decode clock when it began to decode, less what
    it had decoded before; it is meaningless while ``decoding`` is False.
    """

    id: str
    prompt_tokens: int
    output_tokens: int
    prefill_work: float
    decode_work: float
    order: int = 0
    decoding: bool = False
    decoded_from: float = 0.0
    decoded: float = 0.0
    prefill_left: float = 0.0
    first_token_at_s: float | None = None

    @property
    def work(self) -> float:
        """Its whole output in units of the replica's decode clock."""
        return self.output_tokens * self.decode_work
