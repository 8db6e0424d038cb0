"""Typed errors leave a gRPC handler as a status that names field, value and remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from maestro.errors import MaestroError
from maestro.wire_errors import to_status

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def typed_errors(context: Context) -> AsyncIterator[None]:
    """Turns a MaestroError raised inside into the RPC's status."""
    try:
        yield
    except MaestroError as error:
        status = to_status(error)
        await context.abort(status.code, status.details, status.trailing_metadata)
