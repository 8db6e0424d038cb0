"""Plan snapshots of every family, and print how good and how fast the plans are, as one table.

    python benchmarks/planner/families.py --limits 0.25 1 10 --seeds 30 --recorded DIRECTORY ...

Snapshots are those of ``maestro snapshot generate``, and with ``--recorded`` those that ``maestro simulate --snapshots
DIRECTORY`` has written, where each folder is a family. Plans and reports are those of ``maestro plan --json``; all are
made in one process, which has loaded compiled code before. A plan is paired with the best plan that the portfolio
found within the same run; ``--against`` plans the same snapshot by other policies too, within the same limit. Figures
are the median with the range from the 10th to the 90th percentile.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maestro.snapshot import Snapshot
from maestro.snapshot_codec import snapshot_from_dict
from maestro_solver.planner import PlannerConfig
from maestro_solver.planner.answering import plan_by
from maestro_solver.planner.generate import generate
from maestro_solver.planner.reporting import report_on
from maestro_solver.warm import warm

PORTFOLIO = "below the portfolio"
FAMILIES = ("small", "contended-1", "contended-2", "contended-3", "large")


def main() -> int:
    """Run what the arguments say; 0 if the checker passes every plan."""
    arguments = _arguments()
    warm()
    rows = [
        _row(family, name, snapshot, limit_s, arguments)
        for family, name, snapshot in _snapshots(arguments)
        for limit_s in arguments.limits
    ]
    figures = [
        _figures(family, limit_s, [row for row in rows if (row["family"], row["limit_s"]) == (family, limit_s)])
        for family in dict.fromkeys(row["family"] for row in rows)
        for limit_s in arguments.limits
    ]
    if arguments.json:
        print(json.dumps({"rows": rows, "families": figures}, indent=2))
    else:
        print(*table(figures), sep="\n")
    return 0 if all(row["checked"] for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--recorded", nargs="*", default=[], type=Path, help="folders of recorded snapshots")
    parser.add_argument("--seeds", type=int, default=5, help="snapshots a family, of recorded ones at most")
    parser.add_argument("--limits", type=float, nargs="+", default=[1.0], help="seconds")
    parser.add_argument("--stages", type=int, help="waiting stages, where not the family's usual number")
    parser.add_argument("--accelerators", type=int, help="likewise")
    parser.add_argument("--against", nargs="*", default=[], help="policies to compare with, e.g. portfolio edf")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="every row, and more figures than the table has")
    return parser.parse_args()


def _snapshots(arguments: argparse.Namespace) -> Iterator[tuple[str, str, Snapshot]]:
    """Every snapshot with its family, and its seed or the name of its file."""
    for family in arguments.families:
        for seed in range(arguments.seeds):
            yield family, str(seed), generate(family, arguments.stages, arguments.accelerators, seed)
    for folder in arguments.recorded:
        for name, snapshot in recorded(folder, arguments.seeds):
            yield folder.name, name, snapshot


def recorded(folder: Path, most: int) -> Iterator[tuple[str, Snapshot]]:
    """The snapshots of a folder with the names of their files, at most so many, spread over all of them."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise SystemExit(f"{folder} holds no snapshots: maestro simulate ... --snapshots {folder} writes some")
    taken = min(most, len(files))
    for position in range(taken):
        file = files[position * len(files) // taken]
        yield file.stem, snapshot_from_dict(json.loads(file.read_text()))


def _row(family: str, name: str, snapshot: Snapshot, limit_s: float, arguments: argparse.Namespace) -> dict[str, Any]:
    found = _plan(snapshot, "planner", limit_s, arguments.workers)
    others = {policy: _plan(snapshot, policy, limit_s, arguments.workers) for policy in arguments.against}
    below = {PORTFOLIO: _below(found["objective"], found["portfolio_objective"])}
    below |= {f"below {policy}": _below(found["objective"], other["objective"]) for policy, other in others.items()}
    return {"family": family, "name": name, "limit_s": limit_s, "below": below, **found}


def _plan(snapshot: Snapshot, policy: str, limit_s: float, workers: int) -> dict[str, Any]:
    began_s = time.monotonic()
    plan = plan_by(policy, snapshot, PlannerConfig(limit_s=limit_s, workers=workers), time.monotonic)
    return {"wall_s": time.monotonic() - began_s, **asdict(report_on(snapshot, plan, policy))}


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
        "never_above_the_portfolio": all(row["below"][PORTFOLIO] >= -1e-9 for row in rows),
        "gap": _spread([row["gap"] for row in rows]),
        "on_time": _spread([row["on_time"] for row in rows if row["on_time"] is not None]),
        "seconds": _spread([row["wall_s"] for row in rows]),
        "overshoot_s": _p99([max(0.0, row["wall_s"] - limit_s) for row in rows]),
        "gain_shares": _mean_shares([row["gain_shares"] for row in rows if row["gain_shares"]]),
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


def _p99(values: Sequence[float]) -> float:
    """The 99th percentile, with fewer than a hundred values the largest."""
    return statistics.quantiles(values, n=100, method="inclusive")[-1] if len(values) > 1 else values[0]


def _mean_shares(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean share of each part over the plans that gained something."""
    parts = sorted({part for each in shares for part in each})
    return {part: statistics.fmean(each.get(part, 0.0) for each in shares) for part in parts}


def table(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a table in Markdown; a plan that the checker rejects, or above the portfolio's, is told of."""
    headings = ["family, limit", "snapshots", *figures[0]["below"], "gap to the bound", "on time", "seconds"]
    headings += ["beyond the limit (p99)", "gain by part", "wrong"]
    yield _line(headings)
    yield _line(["---"] * len(headings))
    for found in figures:
        shares = [f"{part.replace('_', ' ')} {share:.0%}" for part, share in found["gain_shares"].items()]
        rejected = found["instances"] - found["checked"]
        wrong = [f"{rejected} rejected"] * (rejected > 0)
        wrong += ["above the portfolio"] * (not found["never_above_the_portfolio"])
        yield _line(
            [
                f"{found['family']}, {found['limit_s']:g} s",
                str(found["instances"]),
                *(_percent(spread) for spread in found["below"].values()),
                _percent(found["gap"]),
                _percent(found["on_time"]),
                _number(found["seconds"], 2),
                f"{1e3 * found['overshoot_s']:.0f} ms",
                ", ".join(shares) or "none",
                ", ".join(wrong),
            ]
        )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.1%} ({spread['p10']:.1%} to {spread['p90']:.1%})"


def _number(spread: Mapping[str, float], digits: int) -> str:
    return f"{spread['median']:.{digits}f} ({spread['p10']:.{digits}f} to {spread['p90']:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
