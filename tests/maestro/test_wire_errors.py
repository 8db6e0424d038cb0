"""Typed errors cross the wire whole."""

import grpc
import pytest
from google.rpc import status_pb2
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
from maestro.wire_errors import from_rpc_error, to_status


class Failure(grpc.RpcError):
    """A failed call as gRPC raises it."""

    def __init__(self, code, details, metadata=()):
        self._parts = (code, details, metadata)

    def code(self):
        return self._parts[0]

    def details(self):
        return self._parts[1]

    def trailing_metadata(self):
        return self._parts[2]


def crossed(error, code=None):
    status = to_status(error, code)
    return from_rpc_error(Failure(status.code, status.details, status.trailing_metadata), "host:1")


KINDS = [
    NotFoundError,
    ConflictError,
    OverloadedError,
    UnreachableError,
    InfeasibleError,
    DeadlineExceededError,
    UnsupportedError,
    MaestroError,
]


@pytest.mark.parametrize("kind", KINDS)
def test_that_each_kind_arrives_as_itself_with_its_message(kind):
    error = crossed(kind("what happened"))
    assert type(error) is kind
    assert str(error) == "what happened"


def test_that_an_invalid_input_keeps_field_problem_value_and_remedy():
    error = crossed(InvalidInputError("stages[2].after[0]", "unknown stage", value="x", remedy="add it"))
    assert isinstance(error, InvalidInputError)
    assert (error.field, error.problem, error.value, error.remedy) == (
        "stages[2].after[0]",
        "unknown stage",
        "x",
        "add it",
    )


def test_that_a_subclass_arrives_as_its_kind():
    class TooLateError(NotFoundError):
        pass

    status = to_status(TooLateError("gone"))
    assert status.code is grpc.StatusCode.NOT_FOUND


def test_that_a_code_can_be_replaced_and_the_kind_stays():
    assert (
        to_status(ConflictError("stale"), grpc.StatusCode.FAILED_PRECONDITION).code
        is grpc.StatusCode.FAILED_PRECONDITION
    )
    assert type(crossed(ConflictError("stale"), grpc.StatusCode.FAILED_PRECONDITION)) is ConflictError


def test_that_long_and_broken_texts_fit_the_metadata():
    status = to_status(InvalidInputError("f" * 9000, "é" * 9000, value="\ud800" * 9000, remedy="r" * 9000))
    parsed = status_pb2.Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"])
    assert len(parsed.SerializeToString()) < 8192
    assert rpc_status.to_status(parsed).details == status.details


@pytest.mark.parametrize(
    ("code", "details", "kind", "message"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "refused",
            UnreachableError,
            r"no answer from host:1 \(refused\); start a scheduler",
        ),
        (grpc.StatusCode.CANCELLED, "", UnreachableError, "no answer from host:1"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", DeadlineExceededError, "host:1 did not answer in the time"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "Sent message larger than max (9 vs. 4)",
            InvalidInputError,
            "too large for one",
        ),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", OverloadedError, "busy"),
        (grpc.StatusCode.FAILED_PRECONDITION, "stale", ConflictError, "stale"),
        (grpc.StatusCode.INVALID_ARGUMENT, "bad", InvalidInputError, "request: bad"),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", UnreachableError, "host:1 is not a scheduler"),
        (grpc.StatusCode.INTERNAL, "oops", MaestroError, "oops"),
    ],
)
def test_that_grpcs_own_failures_have_a_meaning(code, details, kind, message):
    error = from_rpc_error(Failure(code, details), "host:1")
    assert type(error) is kind
    with pytest.raises(kind, match=message):
        raise error
