"""Times and enums, which the wire and the domain write differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from maestro.errors import InvalidInputError
from maestro.reasons import Reason

NANOS = 1_000_000_000
MAX_SECONDS = 315_576_000_000  # ten thousand years, protobuf's own limit for a Duration

_Enum = TypeVar("_Enum", bound=StrEnum)


def duration_to_proto(seconds: float, field: str) -> Duration:
    """Encode seconds to the nanosecond; raises InvalidInputError for what is not finite or longer than the limit."""
    if not math.isfinite(seconds) or abs(seconds) > MAX_SECONDS:
        raise InvalidInputError(field, "is not a duration that can be sent", value=seconds)
    whole, nanos = _split(seconds)
    if whole < 0 < nanos:  # a Duration's two parts have the same sign
        whole, nanos = whole + 1, nanos - NANOS
    return Duration(seconds=whole, nanos=nanos)


def duration_from_proto(message: Duration) -> float:
    """Decode to seconds."""
    return (message.seconds * NANOS + message.nanos) / NANOS


def instant_to_proto(at_s: float | None) -> Timestamp | None:
    """Encode seconds since the Unix epoch to the nanosecond."""
    if at_s is None:
        return None
    whole, nanos = _split(at_s)
    return Timestamp(seconds=whole, nanos=nanos)


def instant_from_proto(message: Timestamp) -> float:
    """Decode to seconds since the Unix epoch."""
    return (message.seconds * NANOS + message.nanos) / NANOS


def datetime_to_proto(at: datetime, field: str) -> Timestamp:
    """Encode a moment to the microsecond; raises InvalidInputError where it has no time zone."""
    if at.tzinfo is None:
        raise InvalidInputError(field, "has no time zone", value=at, remedy="give it in UTC, with its zone")
    message = Timestamp()
    message.FromDatetime(at)
    return message


def datetime_from_proto(message: Timestamp, field: str) -> datetime:
    """Decode to UTC; raises InvalidInputError where the calendar ends before."""
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(field, "is not a time", value=message.seconds, remedy="give a UTC timestamp") from error


def enum_from_proto(table: Mapping[Any, _Enum], value: int, field: str) -> _Enum:
    """Look up an enum value; raises InvalidInputError for one that the table does not have."""
    try:
        return table[value]
    except KeyError:
        known = ", ".join(f"{number} ({name})" for number, name in table.items())
        raise InvalidInputError(field, "unknown enum value", value=value, remedy=f"use one of {known}") from None


def reason_from_proto(text: str, field: str) -> Reason | None:
    """Decode a reason, which is empty where there is none."""
    if not text:
        return None
    try:
        return Reason(text)
    except ValueError:
        raise InvalidInputError(field, "unknown reason", value=text, remedy="use matching versions") from None


def _split(seconds: float) -> tuple[int, int]:
    """Whole seconds, rounded down, and the rest in nanoseconds."""
    whole = math.floor(seconds)
    nanos = round((seconds - whole) * NANOS)
    return (whole + 1, 0) if nanos == NANOS else (whole, nanos)
