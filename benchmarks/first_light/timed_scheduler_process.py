"""A scheduler on a scenario whose timing log goes to a file; prints its address."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import uvloop

from maestro.scenario import load
from maestro_services.scheduler import attempt_streams
from maestro_services.scheduler.serve import Scheduler
from maestro_services.scheduler.settings import settings_of


async def main() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scheduler = Scheduler(settings_of(load(Path(sys.argv[1]))), stop)
    attempt_streams.timing_log.setLevel(logging.DEBUG)
    attempt_streams.timing_log.propagate = False
    attempt_streams.timing_log.addHandler(logging.FileHandler(sys.argv[2]))
    attempt_streams.timing_log.debug("clock offset %.6f", scheduler.loop.clock.offset_s)
    serving = asyncio.create_task(scheduler.run())
    print("listening on", await scheduler.wait_listening(), flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(main())
