"""Writes what is derived from the scenario models: ``python -m maestro.scenario`` from the project's root.

The JSON Schemas that editors complete from, and the reference of all keys in the documentation.
"""

from __future__ import annotations

import json
from pathlib import Path

from maestro.scenario.reference import reference
from maestro.scenario.schema import json_schema


def write_derived(root: Path) -> None:
    """Write the derived files below ``root``."""
    for name, folder in (("scenario", "scenarios"), ("workflow", "scenarios/workflows")):
        target = root / folder / f"{name}.schema.json"
        target.write_text(json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (root / "docs" / "scenarios.md").write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    write_derived(Path.cwd())
