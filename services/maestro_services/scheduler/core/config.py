"""What an operator decides and the core obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maestro.fleet import Fleet
from maestro.performance import ReservationQuantile
from maestro.snapshot import ObjectiveWeights
from maestro.special_tokens import SpecialTokens
from maestro.tokens import TokenCounter
from maestro_solver.heuristics.dispatch import DispatchPolicy


@dataclass(frozen=True, slots=True)
class SloClass:
    """How a deadline is derived where the client gives none, and how much the class weighs in the objective."""

    name: str
    deadline_factor: float
    weight: float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most ``max_attempts`` per stage, ``backoff_s`` before the second, doubled each time up to 30 s."""

    max_attempts: int
    backoff_s: float

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after ``attempts`` attempts have failed."""
        return float(min(30.0, self.backoff_s * 2 ** max(0, attempts - 1)))


@dataclass(frozen=True, slots=True)
class PromptRules:
    """What rendering a prompt for one model needs: its control tokens, and how its tokens are counted."""

    special_tokens: SpecialTokens
    count: TokenCounter


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """The core's settings. ``order_policy`` names the heuristic that orders stages no plan has ordered yet.

    ``dispatch``: a policy that decides everything, without plans; None where plans are asked for. ``starts``: a policy
    by which stages start as soon as there is room, while plans decide residency; None where plans place stages too.
    ``saves_predictor``: what the predictor has learnt is to be kept now and then.
    """

    fleet: Fleet
    slo_classes: Mapping[str, SloClass]
    default_slo_class: str
    reference_kind: str
    weights: ObjectiveWeights
    horizon_s: float
    tick_s: float
    max_snapshot_stages: int
    min_plan_interval_s: float
    drift: float
    retry: RetryPolicy
    lease_ttl_s: float
    tool_expected_s: float
    reservation_quantile: ReservationQuantile
    prompts: Mapping[str, PromptRules]
    order_policy: str = "wspt+hopeless_last"
    dispatch: DispatchPolicy | None = None
    starts: DispatchPolicy | None = None
    saves_predictor: bool = True

    @property
    def policy(self) -> DispatchPolicy | None:
        """The policy by which ready stages start; None where plans and the incremental heuristic place them."""
        return self.dispatch or self.starts
