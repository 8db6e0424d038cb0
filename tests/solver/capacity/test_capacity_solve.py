"""Tests that capacity plans are what a person would work out on small cases, and say why where demand is not served."""

import math

import pytest
from capacity_cases import demand, fleet, model, problem, speed

from maestro.errors import InvalidInputError
from maestro_solver.capacity import (
    Binding,
    CapacityPlan,
    CapacityProblem,
    CapacityStatus,
    Shortfall,
    frontier,
    solve,
    violations,
)
from maestro_solver.capacity import layouts as layouts_module

LIMIT_S = 20.0


def solved(case: CapacityProblem, budget: int) -> CapacityPlan:
    plan = solve(case, budget, LIMIT_S)
    assert violations(case, plan) == ()
    return plan


def shortfall_of(case: CapacityProblem, budget: int = 2) -> Shortfall:
    plan = solved(case, budget)
    assert plan.status is CapacityStatus.INFEASIBLE
    assert plan.shortfall is not None
    return plan.shortfall


class TestAllIsServed:
    """Tests that all demand is served on the fewest accelerators where the budget allows it."""

    def test_one_replica_serves_its_batch_each_second(self) -> None:
        plan = solved(problem(fleet(model("m")), demand("d", requests_per_s=4.0)), 2)
        assert (plan.status, plan.accelerators_used, plan.gap) == (CapacityStatus.OPTIMAL, 1, 0.0)
        assert plan.replicas[0].batch == 4
        assert plan.replicas[0].load == pytest.approx(1.0)
        assert plan.served == {"d": pytest.approx(1.0)}
        assert plan.shortfall is None

    def test_a_little_more_takes_a_second_one_and_they_share_evenly(self) -> None:
        plan = solved(problem(fleet(model("m")), demand("d", requests_per_s=4.2)), 2)
        assert plan.accelerators_used == 2
        assert [replica.load for replica in plan.replicas] == [pytest.approx(0.525)] * 2

    def test_utilisation_leaves_room(self) -> None:
        case = problem(fleet(model("m")), demand("d", requests_per_s=4.0), utilisation=0.5)
        plan = solved(case, 2)
        assert plan.accelerators_used == 2
        assert all(replica.load <= 0.5 + 1e-6 for replica in plan.replicas)

    def test_small_demands_for_two_models_share_an_accelerator(self) -> None:
        case = problem(fleet(model("m"), model("o")), demand("d"), demand("e", "o"))
        plan = solved(case, 2)
        assert plan.accelerators_used == 1
        assert {replica.model for replica in plan.replicas} == {"m", "o"}

    def test_models_that_do_not_fit_together_are_kept_apart(self) -> None:
        case = problem(fleet(model("m"), model("o", 600)), demand("d"), demand("e", "o"))
        assert solved(case, 2).accelerators_used == 2

    def test_at_most_so_many_models_share_an_accelerator(self) -> None:
        alone = CapacityProblem(
            fleet(model("m"), model("o")), (demand("d"), demand("e", "o")), utilisation=1.0, max_models=1
        )
        assert solved(alone, 2).accelerators_used == 2

    def test_co_location_is_charged_for_its_slowdown(self) -> None:
        """Two requests a second each take half the slots each, were it not that turns double their time."""
        case = problem(
            fleet(model("m"), model("o")), demand("d", requests_per_s=2.0), demand("e", "o", requests_per_s=2.0)
        )
        assert solved(case, 2).accelerators_used == 2

    def test_a_tight_latency_limits_the_batch(self) -> None:
        slowing = model("m", speeds={"gpu": speed(batch_slope=0.5)})
        case = problem(fleet(slowing), demand("d", max_latency_s=1.6))
        plan = solved(case, 2)
        assert plan.replicas[0].batch == 2  # a batch of 2 takes 1.5 s, one of 3 takes 2 s

    def test_a_pool_that_holds_few_requests_limits_throughput(self) -> None:
        small_pool = model("m", kv_pool_bytes=25)  # two requests of 10 tokens
        assert solved(problem(fleet(small_pool), demand("d", requests_per_s=3.0)), 2).accelerators_used == 2

    def test_a_batch_larger_than_its_pool_holds_is_not_worth_its_slowdown(self) -> None:
        slowing = model("m", kv_pool_bytes=35, max_batch=8, speeds={"gpu": speed(batch_slope=0.5)})
        plan = solved(problem(fleet(slowing, slots=8), demand("d", requests_per_s=1.5)), 2)
        assert [replica.batch for replica in plan.replicas] == [3]

    def test_elastic_kv_is_sized_to_the_batch(self) -> None:
        case = problem(fleet(model("m", 980), kv_elastic=True), demand("d", requests_per_s=2.0))
        plan = solved(case, 2)
        assert plan.accelerators_used == 1
        assert plan.replicas[0].kv_pool_bytes == 20

    def test_no_requests_take_no_accelerator(self) -> None:
        for case in (problem(fleet(model("m")), demand("d", requests_per_s=0.0)), problem(fleet(model("m")))):
            plan = solved(case, 0)
            assert (plan.status, plan.accelerators_used, plan.replicas) == (CapacityStatus.OPTIMAL, 0, ())

    def test_requests_of_no_tokens_take_one_replica_and_no_time(self) -> None:
        plan = solved(problem(fleet(model("m")), demand("d", output_tokens=0, requests_per_s=1e6)), 1)
        assert plan.served == {"d": 1.0}

    def test_a_cluster_is_used_up_to_its_limit(self) -> None:
        case = problem(
            fleet(model("m"), clusters={"a": 3, "b": 3}, per_cluster={"a": 1}), demand("d", requests_per_s=16.0)
        )
        plan = solved(case, 6)
        assert plan.status is CapacityStatus.OPTIMAL
        assert sorted(replica.cluster for replica in plan.replicas) == ["a", "b", "b", "b"]

    def test_pinned_replicas_stay_where_they_are(self) -> None:
        case = problem(fleet(model("m", pinned_on=frozenset({"c-1"})), model("o", 700)), demand("d", "o"))
        plan = solved(case, 2)
        assert {(replica.model, replica.accelerator) for replica in plan.replicas} == {("m", "c-1"), ("o", "c-0")}


class TestNotAllIsServed:
    """Tests that a shortfall is explained: which demand, what binds, and the least budget that would do."""

    def test_the_budget_binds(self) -> None:
        case = problem(fleet(model("m"), clusters={"c": 5}), demand("d", requests_per_s=10.0))
        plan = solved(case, 2)
        assert plan.shortfall is not None
        assert plan.shortfall.binding is Binding.BUDGET
        assert (plan.shortfall.demand, plan.shortfall.least_accelerators) == ("d", 3)
        assert plan.shortfall.least_is_proven
        assert plan.served["d"] == pytest.approx(0.8)
        assert solved(case, 3).status is CapacityStatus.OPTIMAL

    def test_a_budget_of_none_serves_nothing(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m")), demand("d")), 0)
        assert (shortfall.binding, shortfall.least_accelerators) == (Binding.BUDGET, 1)

    def test_the_demand_that_weighs_more_is_served_first(self) -> None:
        case = problem(
            fleet(model("m"), model("o", 700)),
            demand("light", requests_per_s=4.0),
            demand("heavy", "o", requests_per_s=4.0, weight=3.0),
        )
        plan = solved(case, 1)
        assert plan.served == {"light": pytest.approx(0.0), "heavy": pytest.approx(1.0)}
        assert plan.objective == pytest.approx(3.0)
        assert plan.shortfall is not None
        assert plan.shortfall.demand == "light"

    def test_a_model_that_fits_no_accelerator(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m", 2000)), demand("d")))
        assert (shortfall.binding, shortfall.least_accelerators) == (Binding.MEMORY, None)
        assert shortfall.least_is_proven

    def test_a_request_that_fits_no_pool(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m")), demand("d", output_tokens=101)))
        assert shortfall.binding is Binding.MEMORY

    def test_a_request_longer_than_the_context(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m", context_tokens=5)), demand("d")))
        assert shortfall.binding is Binding.CONTEXT
        assert "10 tokens" in shortfall.reason

    def test_a_kind_without_speed(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m", speeds={"tpu": speed()})), demand("d")))
        assert shortfall.binding is Binding.NO_SPEED

    def test_a_latency_that_not_even_a_request_alone_keeps(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m")), demand("d", max_latency_s=0.9)))
        assert shortfall.binding is Binding.LATENCY
        assert "1 s at best" in shortfall.reason

    def test_one_hopeless_demand_does_not_keep_the_others_from_being_served(self) -> None:
        plan = solved(problem(fleet(model("m")), demand("d"), demand("slow", max_latency_s=0.1)), 2)
        assert plan.served == {"d": pytest.approx(1.0), "slow": 0.0}
        assert plan.accelerators_used == 1

    def test_a_fleet_that_is_too_small(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m")), demand("d", requests_per_s=9.0)))
        assert (shortfall.binding, shortfall.least_accelerators) == (Binding.FLEET, None)

    def test_limits_per_cluster_that_leave_too_few(self) -> None:
        shortfall = shortfall_of(problem(fleet(model("m"), per_cluster={"c": 1}), demand("d", requests_per_s=8.0)))
        assert (shortfall.binding, shortfall.least_accelerators) == (Binding.CLUSTER_LIMIT, None)

    def test_pinned_replicas_that_take_more_than_the_budget(self) -> None:
        case = problem(fleet(model("m", pinned_on=frozenset({"c-0", "c-1"}))), demand("d"))
        shortfall = shortfall_of(case, 1)
        assert (shortfall.binding, shortfall.least_accelerators) == (Binding.PINNED, 2)

    def test_pinned_models_that_do_not_fit_together(self) -> None:
        here = frozenset({"c-0"})
        case = problem(fleet(model("m", 600, pinned_on=here), model("o", 600, pinned_on=here)), demand("d"))
        assert shortfall_of(case).binding is Binding.PINNED

    def test_pinned_models_that_leave_no_room(self) -> None:
        everywhere = frozenset({"c-0", "c-1"})
        case = problem(fleet(model("m"), model("o", 800, pinned_on=everywhere)), demand("d"))
        shortfall = shortfall_of(case)
        assert (shortfall.demand, shortfall.binding) == ("d", Binding.PINNED)


class TestTimeAndProof:
    """Tests that what was not proven in time is not claimed."""

    case = problem(fleet(model("m")), demand("d", requests_per_s=6.0))

    def test_no_time_is_unknown_and_never_infeasible(self) -> None:
        ticks = iter(range(0, 10_000, 100))
        plan = solve(self.case, 1, 1.0, clock=lambda: float(next(ticks)))
        assert plan.status is CapacityStatus.UNKNOWN
        assert plan.shortfall is None
        assert plan.bound == 1.0

    def test_layouts_left_out_weaken_the_proof(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layouts_module, "MAX_LAYOUTS", 1)
        two = problem(fleet(model("m"), model("o")), demand("d"), demand("e", "o"))
        assert solve(two, 0, LIMIT_S).status is not CapacityStatus.OPTIMAL
        assert solve(self.case, 2, LIMIT_S).status is CapacityStatus.OPTIMAL  # a single layout: none was left out

    def test_the_frontier_rises_until_all_is_served(self) -> None:
        case = problem(fleet(model("m"), clusters={"c": 4}), demand("d", requests_per_s=10.0))
        plans = frontier(case, range(5), LIMIT_S)
        assert [plan.budget for plan in plans] == [0, 1, 2, 3, 4]
        assert [plan.objective for plan in plans] == [pytest.approx(share) for share in (0.0, 0.4, 0.8, 1.0, 1.0)]
        assert [plan.accelerators_used for plan in plans] == [0, 1, 2, 3, 3]


class TestBadInput:
    """Tests that a problem that makes no sense is refused with the field's name."""

    @pytest.mark.parametrize("budget", [-1, 1.5, True, None, math.nan])
    def test_budget(self, budget: object) -> None:
        with pytest.raises(InvalidInputError, match="budget"):
            solve(problem(fleet(model("m"))), budget, LIMIT_S)  # type: ignore[arg-type]

    @pytest.mark.parametrize("limit_s", [0.0, -1.0, math.nan, math.inf])
    def test_limit(self, limit_s: float) -> None:
        with pytest.raises(InvalidInputError, match="limit_s"):
            solve(problem(fleet(model("m"))), 1, limit_s)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("requests_per_s", -1.0),
            ("requests_per_s", math.nan),
            ("requests_per_s", math.inf),
            ("prompt_tokens", -1),
            ("output_tokens", -1),
            ("max_latency_s", 0.0),
            ("max_latency_s", math.inf),
            ("weight", 0.0),
        ],
    )
    def test_demand(self, field: str, value: float) -> None:
        with pytest.raises(InvalidInputError, match=rf"demands\[0\]\.{field}"):
            problem(fleet(model("m")), demand("d", **{field: value}))  # type: ignore[arg-type]

    def test_unknown_model(self) -> None:
        with pytest.raises(InvalidInputError, match=r"demands\[0\]\.model.*'x'.*\['m'\]"):
            problem(fleet(model("m")), demand("d", "x"))

    def test_name_used_twice(self) -> None:
        with pytest.raises(InvalidInputError, match=r"demands\[1\]\.name"):
            problem(fleet(model("m")), demand("d"), demand("d"))

    @pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.1, math.nan])
    def test_utilisation(self, utilisation: float) -> None:
        with pytest.raises(InvalidInputError, match="utilisation"):
            problem(fleet(model("m")), utilisation=utilisation)

    def test_a_model_pinned_on_a_kind_that_cannot_serve_it(self) -> None:
        pinned = model("m", speeds={"tpu": speed()}, pinned_on=frozenset({"c-0"}))
        with pytest.raises(InvalidInputError, match=r"models\.m\.pinned_on"):
            solve(problem(fleet(pinned)), 1, LIMIT_S)
