"""What is read off a run's result."""

from __future__ import annotations

from benchmarks.headline.running.cells import Measure
from benchmarks.headline.statistics import Interval
from maestro_services.simulation.experiment import Result

MILLION = 1e6


def served_tokens(result: Result) -> float:
    """Tokens of calls that ended with a result, read and written."""
    return float(result["throughput_tokens_per_s"]) * float(result["simulated_s"])


def reserved_for_a_million(result: Result) -> float:
    """KV memory reserved, GiB s for a million tokens served: the work done differs between policies under overload."""
    return float(result["kv_reserved_gib_s"]) / max(served_tokens(result), 1.0) * MILLION


def used_for_a_million(result: Result) -> float:
    """KV memory in use, GiB s for a million tokens served."""
    return float(result["kv_used_gib_s"]) / max(served_tokens(result), 1.0) * MILLION


def overflowed(result: Result) -> float:
    """Calls that outgrew their reservation, per cent."""
    return 100.0 * float(result["overflow_rate"])


def plans(result: Result) -> float:
    """Plans that came into force."""
    return float(sum(result["plan_sources"].values()))


def changes_a_plan(result: Result) -> float:
    """Loads and evictions for every plan in force: how much of a plan is new."""
    return (float(result["cold_starts"]) + float(result["swaps"])) / max(1.0, plans(result))


def number(name: str) -> Measure:
    """A measure that is an entry of the result."""
    return lambda result: float(result[name])


def shown(found: Interval | None, *, signed: bool = False) -> str:
    """A mean with its interval, as tables show it."""
    if found is None:
        return ""
    form = "+.1f" if signed else ".1f"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"
