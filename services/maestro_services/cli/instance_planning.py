"""``maestro plan --instance``: a core instance in, a plan in the instance's own format out."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from maestro_services.cli.json_files import write_json
from maestro_services.cli.output import emit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maestro_solver.core_instance.answering import Answer
    from maestro_solver.core_instance.problem import Terms
    from maestro_solver.core_instance.result import InstanceConfig

_LONGEST_END_S = 10.0


def plan_core_instance(values: object, policy: str, config: InstanceConfig, out: Path | None, *, as_json: bool) -> None:
    """Plan a parsed instance, write the plan to ``out`` and report on it; raises InvalidInputError.

    The limit covers building, solving and checking; imports and loading compiled code come before it.
    """
    from maestro_solver.core_instance.answering import answer
    from maestro_solver.core_instance.document import read_instance
    from maestro_solver.warm import warm

    document = read_instance(values)
    warm()
    found = answer(document, policy, config, time.monotonic)
    if out is not None:
        write_json(out, found.document)
    report = _report(found, policy, len(document.workflows))
    emit(report, as_json=as_json, view=_view(report))
    _let_searches_end()


def _let_searches_end() -> None:
    """Wait for the solver's threads, which have been told to stop: the process would abort if it ended under them."""
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(_LONGEST_END_S)


def _report(found: Answer, policy: str, workflows: int) -> dict[str, Any]:
    result, terms = found.result, found.result.terms
    return {
        "policy": policy,
        "objective": round(terms.objective, 4),
        "terms": {"late": terms.late, "tardy": terms.tardy, "latency": terms.latency, "swap": terms.swap},
        "on_time": _on_time(terms, workflows),
        "bound": result.bound,
        "gap": result.gap,
        "status": result.status,
        "source": result.source,
        "fallback_reason": result.fallback_reason,
        "seconds": {
            "build": found.build_s,
            "solve": found.solve_s,
            "check": found.check_s,
            "total": found.total_s,
        },
        "stages": {"planned": len(found.document["assignments"]), "deferred": 0},
        "swaps": sum(not row["initial"] for row in found.document["residency"]),
        "checked": True,
        "portfolio": result.portfolio,
        "gains": result.gains,
        "moves": result.decodes,
    }


def _on_time(terms: Terms, workflows: int) -> float:
    return 1.0 - terms.late_workflows / workflows if workflows else 1.0


def _view(report: Mapping[str, Any]) -> str:
    terms = ", ".join(f"{name} {value:.6g}" for name, value in report["terms"].items())
    fallback = f"; fell back: {report['fallback_reason']}" if report["fallback_reason"] else ""
    return (
        f"{report['status']} plan by {report['source']} in {report['seconds']['total']:.2f} s, checked{fallback}\n"
        f"objective {report['objective']:.6g} ({terms}), at least {report['bound']:.6g} (gap {report['gap']:.1%})\n"
        f"{report['stages']['planned']} stages placed, {report['on_time']:.0%} of workflows on time, "
        f"{report['swaps']} loads"
    )
