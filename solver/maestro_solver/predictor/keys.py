"""The keys that lengths are counted under, from all stages together down to one model in one phase of a role."""

from __future__ import annotations

from typing import Protocol

from maestro.costs import LengthFeatures


class Named(Protocol):
    """What says where a call stands."""

    @property
    def app(self) -> str:
        """The application."""

    @property
    def role(self) -> str:
        """The agent's role in it."""

    @property
    def phase(self) -> str:
        """The phase of the work."""


Key = tuple[str, ...]
"""(), (role), (app, role), (app, role, phase) or (app, role, phase, model); its length tells which."""

DEPTH = 5
"""How many keys one stage is counted under."""


def keys_of(features: LengthFeatures) -> tuple[Key, ...]:
    """Return the keys of a stage, coarse to fine."""
    app, role, phase, model = features.app, features.role, features.phase, features.model
    return ((), (role,), (app, role), (app, role, phase), (app, role, phase, model))
