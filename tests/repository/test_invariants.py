"""docs/invariants.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`")


def test_every_invariant_names_a_test() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert rows
    assert all(NAMED.search(row) for row in rows)


def test_every_test_that_is_named_exists() -> None:
    for path, function in NAMED.findall((ROOT / "docs" / "invariants.md").read_text()):
        place = ROOT / path
        assert place.exists(), path
        if function:
            assert f"def {function}(" in place.read_text(), f"{path}::{function}"
