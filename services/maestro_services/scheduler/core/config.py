"""What an operator decides and the core obeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """At most ``max_attempts`` per stage, ``backoff_s`` before the second, doubled each time up to 30 s.

    Attempts that are lost with their node are no failure of the stage: they do not count, but ``max_losses`` at most
    are taken.
    """

    max_attempts: int
    backoff_s: float
    max_losses: int = 10

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after ``attempts`` attempts have failed or were lost."""
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
    ``commit_s``: what is to start within so long is not moved by another plan. ``starvation_after_s``: a stage that was
    ready for so long goes first (None: never). ``least_shares``: by tenant, the least share of started work.
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
    commit_s: float = 2.0
    starvation_after_s: float | None = None
    least_shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def policy(self) -> DispatchPolicy | None:
        """The policy by which ready stages start; None where plans and the incremental heuristic place them."""
        return self.dispatch or self.starts
