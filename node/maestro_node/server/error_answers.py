"""Turns typed errors into gRPC answers, at one place for every method.

The reason, where the error has one, goes along as trailing metadata under ``maestro-reason``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeAlias

import grpc
from grpc.aio import ServerInterceptor, ServicerContext

from maestro.errors import (
    ConflictError,
    InvalidInputError,
    MaestroError,
    NotFoundError,
    OverloadedError,
    UnsupportedError,
)

REASON_METADATA = "maestro-reason"
_LOG = logging.getLogger(__name__)
_CODES: tuple[tuple[type[MaestroError], grpc.StatusCode], ...] = (
    (InvalidInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.FAILED_PRECONDITION),
    (OverloadedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (UnsupportedError, grpc.StatusCode.UNIMPLEMENTED),
)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "ServicerContext[Any, Any]"


def status_code(error: MaestroError) -> grpc.StatusCode:
    """Say which code answers the error; INTERNAL for one that a caller cannot act on."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


class ErrorAnswers(ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Wraps every handler, so that methods just raise."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the method's handler; methods that stream requests (reflection) stay as they are."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        method: Any = handler.unary_stream if handler.response_streaming else handler.unary_unary
        wire = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_stream(method), **wire)
        return grpc.unary_unary_rpc_method_handler(_unary(method), **wire)


def _unary(method: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    @functools.wraps(method)
    async def answer(request: Any, context: Context) -> Any:
        try:
            return await method(request, context)
        except MaestroError as error:
            await _abort(context, error)

    return answer


def _stream(method: Callable[[Any, Context], AsyncIterator[Any]]) -> Callable[[Any, Context], AsyncGenerator[Any]]:
    @functools.wraps(method)
    async def answer(request: Any, context: Context) -> AsyncGenerator[Any]:
        try:
            async for response in method(request, context):
                yield response
        except MaestroError as error:
            await _abort(context, error)

    return answer


async def _abort(context: Context, error: MaestroError) -> NoReturn:
    """End the call with the error's code, its message and its reason."""
    code = status_code(error)
    if code is grpc.StatusCode.INTERNAL:
        _LOG.error("a command failed", exc_info=error)
    reason = getattr(error, "reason", None)
    metadata = ((REASON_METADATA, str(reason)),) if reason else ()
    await context.abort(code, str(error), metadata)
