"""Runs a service in the foreground: its event loop, its log, and the signals that end it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer

log = logging.getLogger(__name__)


class LogLevel(StrEnum):
    """How much a service writes to its log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevelOption = Annotated[LogLevel, typer.Option("--log-level", help="How much is logged, to standard error.")]


def run_service(serve: Callable[[asyncio.Event], Awaitable[None]], log_level: LogLevel) -> None:
    """Run ``serve(stop)`` to its end; SIGINT and SIGTERM set ``stop``."""
    import uvloop

    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z"
    )
    uvloop.run(_until_signalled(serve))


async def _until_signalled(serve: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        log.info("stopping: %s", number.name)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    await serve(stop)
