"""Section ``tenants``: what a tenant can count on when there is more to do than the fleet can."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maestro.section import Name, Section


class TenantSection(Section):
    """A tenant with a share of its own; others share what is left."""

    name: Name = Field(description="Tenant that workflows name, e.g. research.")
    least_share: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        description="Share of all started work that it gets at least while it has any, e.g. 0.2; below 1 in all."
    )
