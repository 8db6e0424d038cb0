"""Typed errors over gRPC, both ways: the status code says the kind, google.rpc details carry the parts.

An InvalidInputError travels as BadRequest (field and problem) and ErrorInfo (value and remedy), so that the caller
gets it back whole. Texts are cut: details travel in trailing metadata, which gRPC bounds at 8 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import status_pb2  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo  # type: ignore[import-untyped]
from grpc_status import rpc_status

from maestro.errors import (
    ConflictError,
    DeadlineExceededError,
    InfeasibleError,
    InvalidInputError,
    MaestroError,
    NotFoundError,
    OverloadedError,
    UnreachableError,
    UnsupportedError,
)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Largest gRPC message that clients and servers accept, so that the limit that answers is the scenario's."""

DOMAIN = "maestro"
MAX_TEXT_CHARS = 600

_CODES: dict[type[MaestroError], grpc.StatusCode] = {
    InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.ALREADY_EXISTS,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnreachableError: grpc.StatusCode.UNAVAILABLE,
    InfeasibleError: grpc.StatusCode.FAILED_PRECONDITION,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
}
_NOBODY_THERE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # the server is shutting down
    grpc.StatusCode.UNIMPLEMENTED,
)
_KINDS: dict[str, type[MaestroError]] = {kind.__name__: kind for kind in _CODES}
_KINDS_BY_CODE = {code: kind for kind, code in _CODES.items()} | {grpc.StatusCode.FAILED_PRECONDITION: ConflictError}


def to_status(error: MaestroError, code: grpc.StatusCode | None = None) -> grpc.Status:
    """Return code, details and trailing metadata for ``context.abort``.

    ``code`` replaces the error's usual one (a node answers FAILED_PRECONDITION to a stale generation).
    """
    if code is None:
        code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), grpc.StatusCode.INTERNAL)
    info = ErrorInfo(reason=type(error).__name__, domain=DOMAIN)
    details = [info]
    if isinstance(error, InvalidInputError):
        info.metadata["remedy"] = _cut(error.remedy)
        if error.value is not None:
            info.metadata["value"] = _cut(str(error.value))
        bad_request = BadRequest()
        bad_request.field_violations.add(field=_cut(error.field), description=_cut(error.problem))
        details.append(bad_request)
    packed = []
    for detail in details:
        packed.append(Any())
        packed[-1].Pack(detail)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=_cut(str(error)), details=packed))


def from_rpc_error(error: grpc.RpcError, address: str) -> MaestroError:
    """Return the typed error that the server at ``address`` meant, or what gRPC's own failure means to a caller."""
    code, text = error.code(), error.details() or ""
    status = rpc_status.from_call(cast("grpc.Call", error))
    if status is not None:
        return _from_details(status)
    if code in _NOBODY_THERE:
        return _unreachable(code, text, address)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        return InvalidInputError(
            "workflow", f"is too large for one message ({text})", remedy=f"stay under {MAX_MESSAGE_BYTES} bytes"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"{address} did not answer in the time it was given")
    kind = _KINDS_BY_CODE.get(code, MaestroError)
    if kind is InvalidInputError:
        return InvalidInputError("request", text)
    return kind(text or f"{address} answered {code.name}")


def _unreachable(code: grpc.StatusCode, text: str, address: str) -> UnreachableError:
    """Say who does not answer; an unbuilt capability of a scheduler does, with details."""
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnreachableError(
            f"{address} is not a scheduler (a node?), or one of another version; give the address that its scenario "
            "names as scheduler.listen"
        )
    return UnreachableError(
        f"no answer from {address} ({text}); start a scheduler there with 'maestro up' or 'maestro serve', "
        "or correct the address"
    )


@contextmanager
def typed_errors(address: str) -> Iterator[None]:
    """Turn a failed call to the server at ``address`` into the typed error it means."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error, address) from error


def _from_details(status: status_pb2.Status) -> MaestroError:
    """Put the error together again."""
    info, bad_request = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    kind = _KINDS.get(info.reason, MaestroError)
    if kind is not InvalidInputError:
        return kind(status.message)
    violation = bad_request.field_violations[0] if bad_request.field_violations else None
    return InvalidInputError(
        violation.field if violation else "request",
        violation.description if violation else status.message,
        value=info.metadata.get("value"),
        remedy=info.metadata.get("remedy", ""),
    )


def _cut(text: str) -> str:
    """Shorten a text, and replace what cannot be sent."""
    sendable = text.encode("utf-8", "replace").decode()
    return sendable if len(sendable) <= MAX_TEXT_CHARS else f"{sendable[: MAX_TEXT_CHARS - 1]}…"
