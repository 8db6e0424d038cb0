"""The reference of all scenario keys as Markdown, made from the models so that it cannot drift from them."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from maestro.scenario.root import Scenario
from maestro.section import Section

_HEAD = """# Scenario files

A scenario is one YAML file: the hardware, the models, the service levels and every setting of Maestro. Copy one from
`scenarios/` and change it; `maestro check FILE` points at the line and key of everything that is wrong in it.

- Sizes: `72 GiB`, `269 MB`, or a bare number of bytes. Durations: `250 ms`, `30 s`, `2 min`, or a bare number of
  seconds. Bandwidths: `2 GB/s`, `10 Gbit/s`, or a bare number of bytes per second.
- Paths are relative to the scenario file.
- Unknown and duplicate keys are errors. `-` marks the entries of a list, `<name>` a key of your own.
- Equal nodes and accelerators are written once, with a `count`.

Written by `python -m maestro.scenario` from the models in `maestro/scenario/`.
"""


def reference() -> str:
    """Return the whole page: one table a top-level key."""
    top, pages = [], []
    for key, info in _keys(Scenario):
        sections = _sections(info.annotation)
        top.append(_row(key, info))
        if sections:
            prefix = "- " if _is_list(info.annotation) else ""
            rows = [_row(path, inner) for path, inner in _walk(sections[0], prefix)]
            pages.append(f"\n## `{key}`\n\n{_table(rows)}")
    return f"{_HEAD}\n{_table(top)}{''.join(pages)}"


def _walk(section: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Yield all keys below a section with their paths."""
    for key, info in _keys(section):
        yield f"{prefix}{key}", info
        mark = "[]." if _is_list(info.annotation) else ".<name>." if _is_mapping(info.annotation) else "."
        for inner in _sections(info.annotation):
            yield from _walk(inner, f"{prefix}{key}{mark}")


def _keys(section: type[Section]) -> list[tuple[str, FieldInfo]]:
    return [(info.alias or name, info) for name, info in section.model_fields.items()]


def _sections(annotation: Any) -> list[type[Section]]:
    """List the sections that a key's type is made of, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _is_list(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is tuple


def _is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) is dict


def _table(rows: list[str]) -> str:
    return "\n".join(["| key | meaning | default |", "| --- | --- | --- |", *rows]) + "\n"


def _row(path: str, info: FieldInfo) -> str:
    meaning = html.escape(info.description or "", quote=False).replace("|", "\\|")
    return f"| `{path}` | {meaning} | {_default(info)} |"


def _default(info: FieldInfo) -> str:
    """Return the default as it would be written; what is optional without one has an empty cell."""
    default = info.default
    if info.is_required():
        return "required"
    if default is PydanticUndefined or default is None or isinstance(default, Section) or default in ((), {}):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
