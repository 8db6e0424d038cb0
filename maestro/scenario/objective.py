"""Section ``objective``: what a plan is judged by."""

from __future__ import annotations

from pydantic import Field

from maestro.section import NonNegative, Seconds, Section
from maestro.snapshot import ObjectiveWeights

_DEFAULT = ObjectiveWeights()


class ObjectiveSection(Section):
    """Weights of the objective's terms; the planner minimises their sum."""

    late: NonNegative = Field(default=_DEFAULT.late, description="Per late workflow, times its weight.")
    tardy: NonNegative = Field(
        default=_DEFAULT.tardy, description="Per second of tardiness, times the workflow's weight."
    )
    tardy_cap_s: Seconds = Field(
        default=_DEFAULT.tardy_cap_s, alias="tardy_cap", description="Tardiness that counts at most, e.g. 60 s."
    )
    latency: NonNegative = Field(
        default=_DEFAULT.latency, description="Per second until a workflow ends, times its weight."
    )
    swap: NonNegative = Field(default=_DEFAULT.swap, description="Per second spent loading models.")
    network: NonNegative = Field(default=_DEFAULT.network, description="Per input that crosses between clusters.")
    gpu: NonNegative = Field(default=_DEFAULT.gpu, description="Per accelerator in use.")
    churn: NonNegative = Field(
        default=_DEFAULT.churn, description="Per place and per load of the plan in force that a new one does not keep."
    )

    def weights(self) -> ObjectiveWeights:
        """Return the same as the planner takes them."""
        return ObjectiveWeights(
            late=self.late,
            tardy=self.tardy,
            tardy_cap_s=self.tardy_cap_s,
            latency=self.latency,
            swap=self.swap,
            network=self.network,
            gpu=self.gpu,
            churn=self.churn,
        )
