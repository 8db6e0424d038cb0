"""YAML and JSON documents that remember on which line each value stands, so that an error can point at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from maestro.errors import InvalidInputError

KeyPath = tuple[str | int, ...]

MAX_VALUES = 200_000
MAX_DEPTH = 64


@dataclass(frozen=True)
class Document:
    """Plain values (dicts, lists, scalars) read from a file; ``name`` is the file's name as shown in errors."""

    name: str
    data: object
    text: str

    @cached_property
    def lines(self) -> Mapping[KeyPath, int]:
        """The line of every key and item."""
        return _read_yaml(self.text, self.name)[1]

    def line_of(self, path: KeyPath) -> int:
        """Return the line (from 1) of the value at ``path``, or of its nearest parent that stands in the document."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def error(self, path: KeyPath, problem: str, *, value: object = None, remedy: str = "") -> InvalidInputError:
        """Return an error whose field reads 'file:line: dotted.path'."""
        return InvalidInputError(
            f"{self.name}:{self.line_of(path)}: {dotted(path)}".rstrip(": "), problem, value=value, remedy=remedy
        )


def dotted(path: KeyPath) -> str:
    """``('fleet', 'clusters', 0, 'name')`` as 'fleet.clusters[0].name'."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def read_document(path: Path) -> Document:
    """Read a YAML (or JSON) file; raises InvalidInputError for what is missing, unreadable or malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(str(path), f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InvalidInputError(str(path), f"cannot be read: {error.strerror}", remedy="check the path") from error
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """Parse one YAML or JSON document; raises InvalidInputError that names line and problem.

    JSON is YAML, but it is read by Python's own parser, hundreds of times faster; lines are looked up when needed.
    """
    if name.endswith(".json"):
        try:
            return Document(name, json.loads(text, object_pairs_hook=_unique), text)
        except (ValueError, RecursionError):
            pass  # the YAML reader says where and why
    data, lines = _read_yaml(text, name)
    document = Document(name, data, text)
    document.__dict__["lines"] = lines  # what was found on the way need not be looked up again
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse duplicate keys, which Python's parser would let pass."""
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("duplicate key")
    return result


def _read_yaml(text: str, name: str) -> tuple[object, Mapping[KeyPath, int]]:
    """Return the values of one YAML document and their lines."""
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        if root is None:
            raise InvalidInputError(f"{name}:1", "the document is empty")
        reader = _Reader(yaml, name)
        return reader.value(root, ()), reader.lines
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise InvalidInputError(f"{name}:{line}", f"is not valid YAML: {problem}") from error
    except (YAMLError, ValueError) as error:
        raise InvalidInputError(name, f"is not valid YAML: {error}") from error
    except RecursionError as error:
        raise InvalidInputError(name, "is nested too deeply", remedy=f"keep to {MAX_DEPTH} levels") from error


class _Reader:
    """Turns composed nodes into plain values and notes their lines on the way."""

    def __init__(self, yaml: YAML, name: str) -> None:
        self._yaml = yaml
        self._name = name
        self.lines: dict[KeyPath, int] = {}

    def value(self, node: Node, path: KeyPath) -> object:
        """Convert a node into its plain value, depth first."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._refuse_explosion(node, path)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        """Convert a mapping; its keys must be text, and none there twice."""
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise InvalidInputError(f"{self._name}:{line}", "a key must be plain text")
            inner = (*path, key)
            if key in result:
                raise InvalidInputError(
                    f"{self._name}:{line}: {dotted(inner)}",
                    f"the key stands here twice (first on line {self.lines[inner]})",
                    remedy="remove one of the two",
                )
            self.lines[inner] = line
            result[key] = self.value(value_node, inner)
        return result

    def _scalar(self, node: Node) -> object:
        return self._yaml.constructor.construct_object(node)

    def _refuse_explosion(self, node: Node, path: KeyPath) -> None:
        """Aliases can make a small file stand for an endless one."""
        if len(path) > MAX_DEPTH or len(self.lines) > MAX_VALUES:
            raise InvalidInputError(
                f"{self._name}:{node.start_mark.line + 1}",
                "the document is nested too deeply or too large once its aliases are expanded",
                remedy=f"keep to {MAX_DEPTH} levels and {MAX_VALUES} values",
            )
