"""How much of a text fits a budget of tokens, found with few counts: a real tokenizer takes a microsecond a token."""

from __future__ import annotations

from collections.abc import Callable

SAMPLE_CHARS = 2048
PROSE_CHARS_PER_TOKEN = 4
WASTED_SHARE = 64  # at most one token in so many of the budget is left unused for the sake of fewer counts
MOST_COUNTS = 16


def longest_within(budget_tokens: int, most: int, tokens_with: Callable[[int], int]) -> int:
    """Find the largest length up to ``most`` with ``tokens_with(length) <= budget_tokens``, or one nearly as large.

    ``tokens_with`` grows with the length, roughly in proportion, and is slow for large ones. 0 where nothing fits.
    ``most`` is returned if it fits and the tokens of what fits below it leave that possible.
    """
    search = _Search(budget_tokens, most, tokens_with(0))
    length = min(most, SAMPLE_CHARS)
    for counts in range(MOST_COUNTS):
        if search.is_over(length):
            break
        search.learn(length, tokens_with(length))
        length = search.middle() if counts % 4 == 3 else search.guess()
    return search.low


class _Search:
    """What is known: ``low`` fits, and ``high``, once it is known, does not."""

    def __init__(self, budget_tokens: int, most: int, least_tokens: int) -> None:
        self.low = 0
        self._low_tokens = self._least_tokens = least_tokens
        self._high: int | None = None
        self._high_tokens = 0
        self._most = most if least_tokens < budget_tokens else 0
        self._budget_tokens = budget_tokens
        self._enough_tokens = budget_tokens - budget_tokens // WASTED_SHARE

    def learn(self, length: int, tokens: int) -> None:
        """Take in one count."""
        if tokens <= self._budget_tokens:
            self.low, self._low_tokens = length, tokens
        else:
            self._high, self._high_tokens = length, tokens

    def is_over(self, following: int) -> bool:
        """Whether ``low`` is good enough; ``following`` is what would be tried next."""
        if self.low >= self._most or (self._high is not None and self._high - self.low <= 1):
            return True
        return self._low_tokens >= self._enough_tokens and following < self._most

    def middle(self) -> int:
        """Halve what is not known."""
        return self.guess() if self._high is None else (self.low + self._high) // 2

    def guess(self) -> int:
        """Follow the line through what is known to just below the budget.

        Before anything was too long the whole is tried where it comes near, and no step is much larger than what was
        counted already: the text ahead may be denser.
        """
        if self._high is None:
            slope = max(1e-3, self._low_tokens - self._least_tokens) / max(1, self.low)
            reach = self.low + (self._target() - self._low_tokens) / slope
            if reach * 1.5 >= self._most:
                reach = self._most
            furthest = max(2 * self.low, PROSE_CHARS_PER_TOKEN * self._budget_tokens)
            return min(self._most, furthest, max(self.low + 1, int(reach)))
        slope = (self._high_tokens - self._low_tokens) / (self._high - self.low)
        step = int((self._target() - self._low_tokens) / slope)
        return min(self._high - 1, max(self.low + 1, self.low + step))

    def _target(self) -> float:
        return (self._budget_tokens + self._enough_tokens) / 2
