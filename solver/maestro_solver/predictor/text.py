"""Words and word pairs of a text as numbers below a fixed bound, so that no vocabulary has to be kept."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from itertools import pairwise

ROWS = 4096
"""How many numbers words are hashed to; 0 is none of them and stands for no word."""

MAX_NGRAMS = 96

_PIECE = re.compile(r"\w+|[^\w\s]")
_MAX_WORDS = 60


@lru_cache(maxsize=4096)
def hashed_ngrams(text: str) -> tuple[int, ...]:
    """Return the numbers, 1 to ROWS, of the first words of ``text`` and of their pairs; at most MAX_NGRAMS."""
    words = _PIECE.findall(text[:1024].lower())[:_MAX_WORDS]
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    return tuple(zlib.crc32(part.encode("utf-8", "replace")) % ROWS + 1 for part in (words + pairs)[:MAX_NGRAMS])
