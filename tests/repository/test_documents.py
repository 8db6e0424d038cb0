"""Claims about README and the other documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from maestro_services.cli.main import app

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE_COMMAND = re.compile(r"(?:^|`|\s)make ([a-z][a-z-]*)", re.MULTILINE)
MAESTRO_COMMAND = re.compile(r"^\s*(?:\$ )?(?:\.venv/bin/)?maestro ([a-z-]+(?: [a-z-]+)?)", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED_LINE = re.compile(r"^    (.*)$", re.MULTILINE)


def documents(repository: Path) -> list[Path]:
    """List the documents that people read."""
    return sorted([*repository.glob("*.md"), *(repository / "docs").rglob("*.md")])


def commands(repository: Path) -> str:
    """Return what the documents show as code, one block after another."""
    texts = [path.read_text() for path in documents(repository)]
    return "\n".join("\n".join(CODE_BLOCK.findall(text) + INDENTED_LINE.findall(text)) for text in texts)


def test_every_make_command_in_the_documents_is_a_target(repository: Path) -> None:
    """Tests that nobody is sent to a target that is gone."""
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    used = set(MAKE_COMMAND.findall(commands(repository)))
    assert {"demo", "test"} <= used
    assert used <= targets


def test_every_maestro_command_in_the_documents_exists(repository: Path) -> None:
    """Tests that what the documents show can be typed."""
    group = typer.main.get_command(app)
    known = set(group.commands)  # type: ignore[attr-defined]
    used = {words.split()[0] for words in MAESTRO_COMMAND.findall(commands(repository))}
    assert used
    assert used <= known


def test_every_command_but_the_services_takes_json(repository: Path) -> None:
    """Tests what README says of --json, on every command and every command of a group."""
    group = typer.main.get_command(app)
    lacking = {
        name for name, command in leaves(group) if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert lacking == {"serve", "node"}
    assert "Every command takes `--json` but `serve` and `node`" in (repository / "README.md").read_text()


def leaves(group: click.Command, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """List the commands of a group and of the groups in it, by the words that call them."""
    for name, command in getattr(group, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_every_local_link_in_the_documents_leads_somewhere(repository: Path) -> None:
    """Tests that files named in the documents exist."""
    for document in documents(repository):
        for target in LINK.findall(document.read_text()):
            if "://" in target or target.startswith(("#", "mailto:")):
                continue
            path = document.parent / target.partition("#")[0]
            assert path.exists(), f"{document.relative_to(repository)} links to {target}"


@pytest.mark.parametrize("target", ["setup", "demo", "test", "lint", "proto", "bench", "clean", "help"])
def test_the_makefile_has_the_target(target: str, repository: Path) -> None:
    """Tests that the documented surface of the Makefile stays."""
    assert re.search(rf"^{target}:.*## ", (repository / "Makefile").read_text(), re.MULTILINE)
