"""Time limits that commands are given."""

from __future__ import annotations

from maestro.errors import InvalidInputError

LONGEST_LIMIT_S = 86_400.0


def check_limit(limit_s: float, of: str = "planning") -> None:
    """Raises InvalidInputError unless ``--limit`` is a wall-clock limit that bounds something; ``of`` is in words."""
    if not 0 < limit_s <= LONGEST_LIMIT_S:
        problem = f"must be over 0 and at most {LONGEST_LIMIT_S:g} seconds"
        raise InvalidInputError("--limit", problem, value=limit_s, remedy=f"give the seconds that {of} may take")
