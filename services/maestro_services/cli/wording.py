"""How numbers and times read in what commands print."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def counted(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural unless it is one: '1 stage', '2 stages'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def instant_text(unix_s: float, now_s: float, zone: tzinfo | None = None) -> str:
    """Return the time of day in ``zone`` (None: the local one), with the date where it is another than at ``now_s``."""
    when, now = (datetime.fromtimestamp(at_s, UTC).astimezone(zone) for at_s in (unix_s, now_s))
    return when.strftime("%H:%M:%S" if when.date() == now.date() else "%Y-%m-%d %H:%M:%S")
