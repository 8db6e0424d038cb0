"""Plan generated snapshots of every family through the command line, and print how good and how fast the plans are.

    python benchmarks/planner/families.py --limits 1 5 --seeds 30

Snapshots come from ``maestro snapshot generate``, plans from ``maestro plan``, each in a process of its own. A plan is
paired with the best plan that the portfolio found within the same run; ``--against`` plans the same snapshot by other
policies too, within the same limit. Figures are the median with the range from the 10th to the 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FAMILIES = ("small", "contended-1", "contended-2", "contended-3", "large")


def main() -> int:
    """Run what the arguments say; 0 if the checker passes every plan."""
    arguments = _arguments()
    rows = []
    for family in arguments.families:
        for seed in range(arguments.seeds):
            rows += _rows(family, seed, arguments)
    figures = [
        _figures(family, limit_s, [row for row in rows if (row["family"], row["limit_s"]) == (family, limit_s)])
        for family in arguments.families
        for limit_s in arguments.limits
    ]
    if arguments.json:
        print(json.dumps({"rows": rows, "families": figures}, indent=2))
    else:
        _print(figures)
    return 0 if all(row["checked"] for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--seeds", type=int, default=5, help="snapshots a family")
    parser.add_argument("--limits", type=float, nargs="+", default=[1.0], help="seconds")
    parser.add_argument("--stages", type=int, help="waiting stages, where not the family's usual number")
    parser.add_argument("--accelerators", type=int, help="likewise")
    parser.add_argument("--against", nargs="*", default=[], help="policies to compare with, e.g. portfolio edf")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _rows(family: str, seed: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One snapshot, planned within every limit."""
    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder) / "snapshot.json"
        sizes = [("--stages", arguments.stages), ("--accelerators", arguments.accelerators)]
        options = [str(part) for name, count in sizes if count is not None for part in (name, count)]
        snapshot.write_text(_maestro("snapshot", "generate", "--family", family, "--seed", str(seed), *options))
        return [_row(family, seed, snapshot, limit_s, arguments) for limit_s in arguments.limits]


def _row(family: str, seed: int, snapshot: Path, limit_s: float, arguments: argparse.Namespace) -> dict[str, Any]:
    found = _plan(snapshot, "planner", limit_s, arguments.workers)
    others = {name: _plan(snapshot, name, limit_s, arguments.workers) for name in arguments.against}
    below = {"the portfolio in the run": _below(found["objective"], found["portfolio_objective"])}
    below |= {name: _below(found["objective"], other["objective"]) for name, other in others.items()}
    return {"family": family, "seed": seed, "limit_s": limit_s, "below": below, **found}


def _plan(snapshot: Path, policy: str, limit_s: float, workers: int) -> dict[str, Any]:
    options = ("--policy", policy, "--limit", str(limit_s), "--workers", str(workers), "--json")
    report: dict[str, Any] = json.loads(_maestro("plan", str(snapshot), *options))
    del report["plan"]
    return report


def _maestro(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "maestro_services.cli", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"maestro {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _below(objective: float, compared: float) -> float:
    """How far the objective lies below the other, as a share of that; negative: above."""
    return 1.0 - objective / compared if compared > 0 else 0.0


def _figures(family: str, limit_s: float, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "family": family,
        "limit_s": limit_s,
        "instances": len(rows),
        "checked": sum(row["checked"] for row in rows),
        "below": {name: _spread([row["below"][name] for row in rows]) for name in rows[0]["below"]},
        "never_above_the_portfolio": all(row["below"]["the portfolio in the run"] >= -1e-9 for row in rows),
        "gap": _spread([row["gap"] for row in rows]),
        "on_time": _spread([row["on_time"] for row in rows if row["on_time"] is not None]),
        "seconds": _spread([row["seconds"]["total"] for row in rows]),
        "longest_s": max(row["seconds"]["total"] for row in rows),
        "swaps": _spread([row["swaps"] for row in rows]),
        "deferred": _spread([row["stages"]["deferred"] for row in rows]),
        "statuses": Counter(row["status"] for row in rows),
        "sources": Counter(row["source"] for row in rows),
        "fallbacks": Counter(row["fallback_reason"] for row in rows if row["fallback_reason"]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile."""
    if len(values) < 2:
        return dict.fromkeys(("median", "p10", "p90"), values[0] if values else float("nan"))
    tenths = statistics.quantiles(values, n=10, method="inclusive")
    return {"median": statistics.median(values), "p10": tenths[0], "p90": tenths[-1]}


def _print(figures: Sequence[Mapping[str, Any]]) -> None:
    for found in figures:
        worse = "" if found["never_above_the_portfolio"] else ", SOMETIMES ABOVE THE PORTFOLIO"
        print(f"{found['family']}, {found['limit_s']:g} s: {found['checked']} of {found['instances']} checked{worse}")
        for name, spread in found["below"].items():
            print(f"  below {name}: {_percent(spread)}")
        print(f"  gap to the bound: {_percent(found['gap'])}; on time: {_percent(found['on_time'])}")
        print(f"  seconds: {_number(found['seconds'], 2)}, longest {found['longest_s']:.2f}")
        print(f"  loads: {_number(found['swaps'], 0)}; deferred: {_number(found['deferred'], 0)}")
        for name in ("statuses", "sources", "fallbacks"):
            print(f"  {name}: {', '.join(f'{key} {count}' for key, count in found[name].items()) or 'none'}")


def _percent(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.1%} ({spread['p10']:.1%} to {spread['p90']:.1%})"


def _number(spread: Mapping[str, float], digits: int) -> str:
    return f"{spread['median']:.{digits}f} ({spread['p10']:.{digits}f} to {spread['p90']:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
