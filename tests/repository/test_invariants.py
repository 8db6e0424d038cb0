"""docs/invariants.md names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[^`]*)`")
TEST = re.compile(r"(tests/[\w/]+/test_\w+\.py)(?:::(\w+))?")


def named(text: str) -> list[str]:
    """List what a text names below tests/."""
    return NAMED.findall(text)


def problem(name: str) -> str | None:
    """Say what is wrong with a test's name: it is to be a test file, or a function in one. None: nothing is."""
    found = TEST.fullmatch(name)
    if found is None:
        return f"{name} is neither a test file nor a function in one"
    path, function = found.groups()
    if not (ROOT / path).is_file():
        return f"{path} does not exist"
    if function and not re.search(rf"^ *(?:async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE):
        return f"{path} has no {function}"
    return None


def test_every_invariant_names_a_test() -> None:
    rows = [line for line in invariants().splitlines() if re.match(r"\| \d+ \|", line)]
    assert rows
    assert [row for row in rows if not named(row)] == []


def test_every_test_that_is_named_exists() -> None:
    names = named(invariants())
    assert names
    assert [found for name in names if (found := problem(name))] == []


@pytest.mark.parametrize(
    "name",
    [
        "tests/repository",
        "tests/repository/conftest.py",
        "tests/repository/test_gone.py",
        "tests/repository/test_invariants.py::test_gone",
    ],
)
def test_a_folder_or_what_is_gone_is_no_test(name: str) -> None:
    assert problem(name) is not None


def invariants() -> str:
    return (ROOT / "docs" / "invariants.md").read_text()
