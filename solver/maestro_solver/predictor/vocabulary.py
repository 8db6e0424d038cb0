"""The names that embeddings are learnt for, coarse to fine, so that an unknown name falls back on what contains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from maestro_solver.predictor.call import UpcomingCall

UNKNOWN_ROW = 0
"""The row of every name that was not seen in training. Its embedding is zero, so that only coarser names speak."""

PLACE_LEVELS = 4
"""The first names say where a call stands (role, app, both, and phase); the others name its model."""

LEVELS = 6
"""How many names one call has."""


def names_of(call: UpcomingCall) -> tuple[str, ...]:
    """Return the names of a call's role, app, (app, role), (app, role, phase), model, and all of them together."""
    app, role, phase, model = call.app, call.role, call.phase, call.model
    parts = (("role", role), ("app", app), ("app", app, role), ("app", app, role, phase), ("model", model))
    return tuple("\x1f".join(part) for part in (*parts, ("app", app, role, phase, model)))


def knows_app(vocabulary: Mapping[str, int], app: str) -> bool:
    """Return whether the vocabulary was made from calls of the app."""
    return "\x1f".join(("app", app)) in vocabulary


def vocabulary_of(calls: Iterable[UpcomingCall]) -> dict[str, int]:
    """Return a row, from 1, for every name of ``calls``."""
    names = dict.fromkeys(name for call in calls for name in names_of(call))
    return {name: row for row, name in enumerate(names, start=1)}


def rows_of(call: UpcomingCall, vocabulary: Mapping[str, int]) -> tuple[int, ...]:
    """Return the rows of a call's names, UNKNOWN_ROW where a name is new."""
    return tuple(vocabulary.get(name, UNKNOWN_ROW) for name in names_of(call))
