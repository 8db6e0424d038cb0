"""The fields of one line of a trace, each read with its type and bounds checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

from maestro.errors import InvalidInputError

MAX_TOKENS = 1 << 24
"""More tokens than any call has; a larger number is a fault of the trace."""

_MAX_SECONDS = 1e9


class TraceLine:
    """One line of a trace: a JSON object and the place where it stands.

    Every method raises InvalidInputError, with file, line and field, for a value that cannot be used.
    """

    def __init__(self, place: str, values: Mapping[str, object]) -> None:
        self._place = place
        self._values = values

    def without_values(self) -> TraceLine:
        """Return the line's place alone, for faults that are found once its values have been let go."""
        return TraceLine(self._place, {})

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; ``default`` stands in where the field is missing or null (None: it must be there)."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value):
            raise self.invalid(name, "must be a string" + ("" if default is not None else " that is not empty"), value)
        return value

    def count(self, name: str) -> int:
        """Return a whole number from 0 to MAX_TOKENS."""
        found = self.optional_count(name)
        if found is None:
            raise self.invalid(name, "is missing", None)
        return found

    def optional_count(self, name: str) -> int | None:
        """Return a whole number from 0 to MAX_TOKENS, or None where the field is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if not _is_whole(value) or not 0 <= value <= MAX_TOKENS:
            raise self.invalid(name, f"must be a whole number from 0 to {MAX_TOKENS}", value)
        return value

    def optional_seconds(self, name: str) -> float | None:
        """Return finite seconds, 0 or more, or None where the field is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
            raise self.invalid(name, "must be finite seconds, 0 or more", value)
        return float(value)

    def steps(self, name: str) -> tuple[int, ...]:
        """Return a list of steps, empty where the field is missing."""
        value = self._values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(_is_whole(one) and one >= 0 for one in value):
            raise self.invalid(name, "must be a list of steps, 0 or more", value)
        return tuple(value)

    def invalid(self, name: str, problem: str, value: object) -> InvalidInputError:
        """Return the error for a field of this line."""
        shown = "NaN" if isinstance(value, float) and math.isnan(value) else value
        return InvalidInputError(f"{self._place}.{name}", problem, value=shown, remedy="mend or remove the line")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
