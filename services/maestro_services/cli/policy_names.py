"""Names of policies in errors: there are dozens, of which those that were meant are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from maestro.errors import InvalidInputError

_ALL = "one of: "
_SHOWN = 5


@contextmanager
def few_policies_named() -> Iterator[None]:
    """Shorten the remedy of an unknown policy to the names nearest to it, or to some of those there are."""
    try:
        yield
    except InvalidInputError as error:
        if error.field != "policy" or not error.remedy.startswith(_ALL):
            raise
        known = error.remedy.removeprefix(_ALL).split(", ")
        shown = get_close_matches(str(error.value), known, n=3) or known[:_SHOWN]
        remedy = f"use one of the {len(known)} there are, such as {', '.join(shown)}"
        raise InvalidInputError("--policy", error.problem, value=error.value, remedy=remedy) from error
