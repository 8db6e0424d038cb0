"""Section ``slo_classes``: how urgent workflows are that give no deadline of their own."""

from __future__ import annotations

from pydantic import Field

from maestro.section import Name, Positive, Section


class SloClassSection(Section):
    """A service level."""

    name: Name = Field(description="Name that workflows use, e.g. interactive.")
    deadline_factor: Positive = Field(
        description="Deadline as a multiple of the predicted time of the critical path on an idle fleet."
    )
    weight: Positive = Field(description="Weight of such a workflow in the objective.")
