"""Plan core instances by Maestro and by other solvers, each alone, on equal terms and within the same wall-clock limit.

    python benchmarks/planner/peers.py DIRECTORY --instances small contended_a --limit 10

Two sets. ``fixed residency``: the instances without what PyJobShop and a time-indexed program cannot say (loads,
network delay, the cap on tardiness; see ``peer_models/fixed_residency.py``). ``whole``: the instances as they are,
which only the full CP-SAT model can say. Building a model is inside the limit; every plan is checked and costed by
Maestro's judge.
PyJobShop is run where it is installed: ``pip install pyjobshop``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peer_models import full_model, time_indexed
from peer_models.fixed_residency import with_fixed_residency
from peer_models.placement import PeerAnswer, as_plan

from maestro_solver.core_instance.check import violations
from maestro_solver.core_instance.document import InstanceDocument, plan_document, read_instance
from maestro_solver.core_instance.grid import problem_from_document
from maestro_solver.core_instance.planning import plan_instance
from maestro_solver.core_instance.portfolio import run_rule
from maestro_solver.core_instance.problem import CorePlan, CoreProblem, cost
from maestro_solver.core_instance.result import InstanceConfig, PlanStatus
from maestro_solver.warm import warm

MAESTRO = "maestro"
FIXED, WHOLE = "fixed residency", "whole"
_ROOM = 1.5
"""The time-indexed program's horizon over the makespan of one rule's plan."""

_EQUAL = 1e-6
"""Shares of the objective smaller than this are none."""

Solve = Callable[[CoreProblem, float, int], PeerAnswer]


def main() -> int:
    """Run what the arguments say; 0 if every plan of Maestro is valid."""
    arguments = _arguments()
    warm()
    rows = []
    for path in sorted(arguments.directory.glob("*.json")):
        if path.stem.startswith(tuple(arguments.instances)):
            rows += _rows(path, arguments)
    if arguments.json:
        print(json.dumps({"rows": rows, "summary": _summary(rows)}, indent=2))
    else:
        _print(rows)
    return 0 if all(row["valid"] for row in rows if row["solver"] == MAESTRO) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="where the core instances are")
    parser.add_argument("--instances", nargs="+", default=["small"], help="beginnings of their names")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _rows(path: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    values = json.loads(path.read_text())
    sets = {FIXED: with_fixed_residency(values), WHOLE: values}
    rows = []
    for name, given in sets.items():
        document = read_instance(given)
        solvers = {MAESTRO: _maestro, "full CP-SAT": full_model.solve}
        if name == FIXED:
            solvers |= {"HiGHS time-indexed": _time_indexed, **_job_shop()}
        for solver, solve in solvers.items():
            row = _row(document, solve, arguments)
            rows.append({"set": name, "instance": path.stem, "solver": solver, **row})
    return rows


def _row(document: InstanceDocument, solve: Solve, arguments: argparse.Namespace) -> dict[str, Any]:
    """One solver's plan, checked and costed."""
    problem = problem_from_document(document)
    began_s = time.monotonic()
    answer = solve(problem, arguments.limit, arguments.workers)
    seconds = time.monotonic() - began_s
    _let_threads_end()
    plan = answer.plan if answer.places is None else as_plan(problem, answer.places)
    return {"status": answer.status, "bound": answer.bound, "seconds": seconds, **_judged(document, problem, plan)}


def _judged(document: InstanceDocument, problem: CoreProblem, plan: CorePlan | None) -> dict[str, Any]:
    if plan is None:
        return {"valid": False, "objective": None, "broken": None}
    broken = violations(document, plan_document(problem, plan))
    return {
        "valid": not broken,
        "objective": cost(problem, plan).objective,
        "broken": f"{broken[0].rule}: {broken[0].detail}" if broken else None,
    }


def _maestro(problem: CoreProblem, limit_s: float, workers: int) -> PeerAnswer:
    result = plan_instance(problem, InstanceConfig(limit_s=limit_s, workers=workers), time.monotonic)
    return PeerAnswer(result.status.value, plan=result.plan, bound=result.bound)


def _time_indexed(problem: CoreProblem, limit_s: float, workers: int) -> PeerAnswer:
    plan = run_rule(problem, "edf").best.plan
    makespan = int((plan.start + problem.stage_duration).max(initial=1))
    return time_indexed.solve(problem, limit_s, workers, int(makespan * _ROOM))


def _job_shop() -> dict[str, Solve]:
    if importlib.util.find_spec("pyjobshop") is None:
        print("PyJobShop is left out: it is not installed (pip install pyjobshop)", file=sys.stderr)
        return {}
    return {"PyJobShop": importlib.import_module("peer_models.job_shop").solve}


def _let_threads_end() -> None:
    """Wait for solver threads that were told to stop, so that they take nothing from who comes next."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not isinstance(thread, threading._DummyThread):  # noqa: SLF001 - the only way to tell foreign threads
            thread.join(30.0)


def _summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By set and peer: how far Maestro lies below it, how often it is better, equal and worse."""
    ours = {(row["set"], row["instance"]): row for row in rows if row["solver"] == MAESTRO}
    found = []
    for name, solver in dict.fromkeys((row["set"], row["solver"]) for row in rows if row["solver"] != MAESTRO):
        pairs = [(ours[name, row["instance"]], row) for row in rows if (row["set"], row["solver"]) == (name, solver)]
        below = [1 - our["objective"] / peer["objective"] for our, peer in pairs if peer["valid"]]
        found.append(
            {
                "set": name,
                "solver": solver,
                "instances": len(pairs),
                "plans": len(below),
                "proven": sum(peer["status"] == PlanStatus.OPTIMAL for _, peer in pairs),
                "proven_by_maestro": sum(our["status"] == PlanStatus.OPTIMAL for our, _ in pairs),
                "below": statistics.median(below) if below else None,
                "least": min(below, default=None),
                "better": sum(share > _EQUAL for share in below) + len(pairs) - len(below),
                "worse": sum(share < -_EQUAL for share in below),
            }
        )
    return found


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        told = f"{row['objective']:12.2f}" if row["valid"] else f"{row['broken'] or 'no plan':>12}"
        bound = "-" if row["bound"] is None else f"{row['bound']:.2f}"
        print(
            f"{row['set']:16} {row['instance']:14} {row['solver']:20} {told} bound {bound:>10} "
            f"({row['status']}, {row['seconds']:.2f} s)"
        )
    print()
    for found in _summary(rows):
        below = "-" if found["below"] is None else f"{found['below']:.1%} (least {found['least']:.1%})"
        print(
            f"{found['set']:16} against {found['solver']:20} below by {below}; better on {found['better']}, worse on "
            f"{found['worse']} of {found['instances']}; it has plans for {found['plans']}, proves {found['proven']} "
            f"(Maestro {found['proven_by_maestro']})"
        )


if __name__ == "__main__":
    sys.exit(main())
