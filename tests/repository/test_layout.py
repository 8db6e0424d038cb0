"""Claims about the house: who may import whom, and how large a file may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE_FOLDERS = ("maestro", "solver", "services", "node", "benchmarks", "tests")
LONGEST_FILE_LINES = 299  # CONTRIBUTING: under 300


def sources(repository: Path) -> list[Path]:
    """List all Python files but the generated ones."""
    files = (path for folder in SOURCE_FOLDERS for path in (repository / folder).rglob("*.py"))
    return sorted(path for path in files if path.parent != repository / "maestro" / "v1")


def test_no_file_is_too_long_to_have_one_reason_to_change(repository: Path) -> None:
    """Tests that files are split before they grow unreadable."""
    lengths = {str(path.relative_to(repository)): len(path.read_text().splitlines()) for path in sources(repository)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE_LINES} == {}


def test_every_package_says_what_it_is_for(repository: Path) -> None:
    """Tests that a newcomer who opens a folder is told what the room is for."""
    rooms = (path for path in sources(repository) if path.name == "__init__.py" and "tests" not in path.parts)
    silent = [str(path.relative_to(repository)) for path in rooms if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_imports_keep_to_the_rules_of_the_house(repository: Path) -> None:
    """Tests the contracts of import-linter in pyproject.toml."""
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        pytest.skip("import-linter is not installed beside this interpreter")
    outcome = subprocess.run([str(program)], cwd=repository, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout
