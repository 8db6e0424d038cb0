"""Plan every core instance of a folder through the command line, judge the plans, and compare with the best rule.

    python benchmarks/planner/core_instances.py DIRECTORY --limits 2 10 --judge DIRECTORY/evaluate.py

Every plan is made by a process of its own, ``maestro plan --instance``, and judged by the script given with ``--judge``
(``judge INSTANCE PLAN`` prints JSON with ``valid`` and ``objective``); without one, Maestro's own checker has the word.
``--reference`` is a JSON file with ``{instance: {name of a reference: objective}}``. The portfolio is the best of the
product's own rules within the same run. Instances stay where they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main() -> int:
    """Run what the arguments say; 0 if every plan is valid."""
    arguments = _arguments()
    references = json.loads(arguments.reference.read_text()) if arguments.reference else {}
    paths = sorted(path for path in arguments.directory.glob("*.json") if _is_instance(path))
    rows = [
        _row(path, limit_s, policy, arguments, references.get(path.stem, {}))
        for path in paths
        for limit_s in arguments.limits
        for policy in arguments.policy
    ]
    _add_ratios(rows)
    families = _families(rows)
    if arguments.json:
        print(json.dumps({"rows": rows, "families": families}, indent=2))
    else:
        _print(rows, families)
    return 0 if all(row["valid"] for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--limits", type=float, nargs="+", default=[2.0, 10.0], help="seconds")
    parser.add_argument("--policy", nargs="+", default=["planner"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", type=Path, help="a script that judges INSTANCE PLAN")
    parser.add_argument("--reference", type=Path, help="a JSON file of objectives to compare with")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _is_instance(path: Path) -> bool:
    values = json.loads(path.read_text())
    return isinstance(values, dict) and str(values.get("format", "")).startswith("maestro-core-instance/")


def _row(
    path: Path, limit_s: float, policy: str, arguments: argparse.Namespace, references: Mapping[str, float]
) -> dict[str, Any]:
    """One plan: what it costs, by the judge where there is one, and what it is compared with."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        report = _plan(path, plan, policy, limit_s, arguments)
        verdict = _judge(arguments.judge, path, plan)
    return {
        "instance": path.stem,
        "family": path.stem.rpartition("_")[0] or path.stem,
        "limit_s": limit_s,
        "policy": policy,
        "valid": verdict.get("valid", report["checked"]),
        "objective": verdict.get("objective", report["objective"]),
        "bound": report["bound"],
        "gap": report["gap"],
        "status": report["status"],
        "source": report["source"],
        "seconds": report["seconds"]["total"],
        "portfolio": min(report["portfolio"].values()),
        **{f"reference {name}": value for name, value in references.items()},
    }


def _plan(path: Path, out: Path, policy: str, limit_s: float, arguments: argparse.Namespace) -> dict[str, Any]:
    maestro = [sys.executable, "-m", "maestro_services.cli", "plan", "--json"]
    choices = ["--instance", str(path), "--out", str(out), "--policy", policy, "--limit", str(limit_s)]
    search = ["--workers", str(arguments.workers), "--seed", str(arguments.seed)]
    done = subprocess.run([*maestro, *choices, *search], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{path}: maestro ended with {done.returncode}: {done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _judge(judge: Path | None, instance: Path, plan: Path) -> dict[str, Any]:
    if judge is None:
        return {}
    judged = subprocess.run([sys.executable, judge, instance, plan], capture_output=True, text=True, check=False)
    verdict: dict[str, Any] = json.loads(judged.stdout)
    return verdict


def _add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """For each value that a row is compared with, how far the objective lies below it (negative: above)."""
    for row in rows:
        compared = {"portfolio": row["portfolio"]}
        compared |= {key: value for key, value in row.items() if key.startswith("reference ")}
        for name, value in compared.items():
            below = 1.0 - row["objective"] / value if row["valid"] and value else None
            row[f"below {name.removeprefix('reference ')}"] = below


def _families(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Medians by family, limit and policy, with the least and the number of instances."""
    keys = sorted({(row["family"], row["limit_s"], row["policy"]) for row in rows})
    return [
        _family(key, [row for row in rows if (row["family"], row["limit_s"], row["policy"]) == key]) for key in keys
    ]


def _family(key: tuple[str, float, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    family, limit_s, policy = key
    result: dict[str, Any] = {"family": family, "limit_s": limit_s, "policy": policy, "instances": len(rows)}
    for name in sorted({name for row in rows for name in row if name.startswith("below ")}):
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            result[name] = {"median": statistics.median(values), "least": min(values), "instances": len(values)}
    result["valid"] = sum(row["valid"] for row in rows)
    result["optimal"] = sum(row["status"] == "optimal" for row in rows)
    result["longest_s"] = max(row["seconds"] for row in rows)
    return result


def _print(rows: Sequence[Mapping[str, Any]], families: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        compared = ", ".join(f"{_percent(value)} {name}" for name, value in row.items() if name.startswith("below "))
        verdict = "valid" if row["valid"] else "INVALID"
        print(
            f"{row['instance']:16} {row['limit_s']:5g} s {row['policy']:10} {row['objective'] or 0:10.2f} {verdict} "
            f"({row['status']}, {row['source']}, gap {row['gap']:.0%}, {row['seconds']:.2f} s): {compared}"
        )
    print()
    for family in families:
        below = ", ".join(
            f"{_percent(value['median'])} {name} (least {_percent(value['least'])}, {value['instances']} instances)"
            for name, value in family.items()
            if name.startswith("below ")
        )
        print(
            f"{family['family']:16} {family['limit_s']:5g} s {family['policy']:10} {family['valid']} of "
            f"{family['instances']} valid, {family['optimal']} optimal, at most {family['longest_s']:.2f} s: {below}"
        )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
