"""Snapshots and plans as plain JSON values and back, for files and the command line.

A snapshot's ``load_s`` is a list of ``{model, accelerator, load_s}``, its ``groups`` one of ``{model, accelerators}``
(none where it is absent), a stage key a pair ``[workflow, stage]``; everything else has the names of the dataclasses.
An infinite number is the string ``"Infinity"``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from maestro.errors import InvalidInputError
from maestro.plan import Plan
from maestro.snapshot import Snapshot

_Value = TypeVar("_Value", Snapshot, Plan)

_ADAPTERS: Mapping[type[Snapshot | Plan], TypeAdapter[Any]] = {
    Snapshot: TypeAdapter(Snapshot),
    Plan: TypeAdapter(Plan),
}

_MAY_BE_NEGATIVE = frozenset(
    {
        "deadline_s",
        "due_in_s",
        "taken_at_s",
        "service_s",
        "not_before_s",
        "remaining_s",
        "remaining_p90_s",
        "remaining_work_s",
        "tail_s",
    }
)


def snapshot_to_dict(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON values."""
    loads = [
        {"model": model, "accelerator": accelerator, "load_s": load_s}
        for (model, accelerator), load_s in snapshot.load_s.items()
    ]
    groups = [{"model": model, "accelerators": list(members)} for (model, _), members in snapshot.groups.items()]
    return {**_encode(snapshot), "load_s": loads, "groups": groups}


def snapshot_from_dict(values: object) -> Snapshot:
    """The snapshot that JSON values describe.

    Raises InvalidInputError naming the field that is missing, unknown, of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise InvalidInputError("snapshot", "must be an object", value=values)
    loads = dict(_loads(values.get("load_s", ())))
    groups = dict(_groups(values.get("groups", ())))
    given = {name: value for name, value in values.items() if name not in {"load_s", "groups"}}
    if "load_s" not in values:
        raise InvalidInputError("snapshot.load_s", "is missing")
    snapshot = _decode(Snapshot, "snapshot", given, {"load_s": loads, "groups": groups})
    for name, model in snapshot.models.items():
        if model.tensor_parallel_size < 1:
            path = f"snapshot.models.{name}.tensor_parallel_size"
            raise InvalidInputError(path, "must be 1 or more", value=model.tensor_parallel_size)
    return snapshot


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values."""
    return _encode(plan)


def plan_from_dict(values: object) -> Plan:
    """The plan that JSON values describe. Raises InvalidInputError as :func:`snapshot_from_dict` does."""
    if not isinstance(values, Mapping):
        raise InvalidInputError("plan", "must be an object", value=values)
    return _decode(Plan, "plan", values, {})


def _encode(value: Snapshot | Plan) -> dict[str, Any]:
    encoded = _ADAPTERS[type(value)].dump_python(value, mode="json")
    spelled: dict[str, Any] = _spell_infinity(encoded)
    return spelled


def _decode(kind: type[_Value], name: str, given: Mapping[str, Any], extra: Mapping[str, Any]) -> _Value:
    """Validate types, then that every given field is known and in range."""
    try:
        value: _Value = _ADAPTERS[kind].validate_python({**given, **extra})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInputError(_path(name, first["loc"]), first["msg"], value=first["input"]) from None
    _refuse_unknown(name, given, _encode(value))
    for path, field, number in _numbers(name, "", given):
        if math.isnan(number):
            raise InvalidInputError(path, "is not a number", value=number)
        if number < 0 and field not in _MAY_BE_NEGATIVE:
            raise InvalidInputError(path, "must not be negative", value=number)
    return value


def _loads(entries: object) -> Iterator[tuple[tuple[str, str], float]]:
    """The load times by pair."""
    if not isinstance(entries, list | tuple):
        raise InvalidInputError("snapshot.load_s", "must be a list of {model, accelerator, load_s}", value=entries)
    for position, entry in enumerate(entries):
        path = f"snapshot.load_s[{position}]"
        if not isinstance(entry, Mapping) or set(entry) != {"model", "accelerator", "load_s"}:
            raise InvalidInputError(path, "must have exactly the fields model, accelerator and load_s", value=entry)
        load_s = entry["load_s"]
        if isinstance(load_s, bool) or not isinstance(load_s, int | float) or not 0 <= load_s < math.inf:
            raise InvalidInputError(f"{path}.load_s", "must be a number of seconds that is not negative", value=load_s)
        yield (str(entry["model"]), str(entry["accelerator"])), float(load_s)


def _groups(entries: object) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """The accelerators of each tensor-parallel replica, by its model and the first of them."""
    if not isinstance(entries, list | tuple):
        raise InvalidInputError("snapshot.groups", "must be a list of {model, accelerators}", value=entries)
    for position, entry in enumerate(entries):
        path = f"snapshot.groups[{position}]"
        if not isinstance(entry, Mapping) or set(entry) != {"model", "accelerators"}:
            raise InvalidInputError(path, "must have exactly the fields model and accelerators", value=entry)
        members = entry["accelerators"]
        if not isinstance(members, list | tuple) or not members or not all(isinstance(name, str) for name in members):
            raise InvalidInputError(f"{path}.accelerators", "must be a list of one or more names", value=members)
        yield (str(entry["model"]), members[0]), tuple(members)


def _path(name: str, location: tuple[int | str, ...]) -> str:
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _refuse_unknown(path: str, given: object, known: object) -> None:
    """Every field given has to be there again after decoding and encoding."""
    if isinstance(given, Mapping) and isinstance(known, Mapping):
        for field, value in given.items():
            if field not in known:
                raise InvalidInputError(
                    f"{path}.{field}", "is not a known field", remedy=f"known here: {', '.join(sorted(known))}"
                )
            _refuse_unknown(f"{path}.{field}", value, known[field])
    elif isinstance(given, list) and isinstance(known, list):
        for position, (value, other) in enumerate(zip(given, known, strict=False)):
            _refuse_unknown(f"{path}[{position}]", value, other)


def _numbers(path: str, field: str, given: object) -> Iterator[tuple[str, str, float]]:
    """Every number with its path and the name of the field it stands in."""
    if isinstance(given, Mapping):
        for name, value in given.items():
            yield from _numbers(f"{path}.{name}", str(name), value)
    elif isinstance(given, list):
        for position, value in enumerate(given):
            yield from _numbers(f"{path}[{position}]", field, value)
    elif isinstance(given, int | float) and not isinstance(given, bool):
        yield path, field, float(given)


def _spell_infinity(value: Any) -> Any:
    """JSON has no infinity."""
    if isinstance(value, dict):
        return {name: _spell_infinity(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_spell_infinity(entry) for entry in value]
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
