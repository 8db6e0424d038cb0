"""A scheduler without nodes on a store in the folder given; prints its address."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from maestro.scenario import load
from maestro_services.scheduler.serve import Scheduler
from maestro_services.scheduler.settings import settings_of

SCENARIO = Path(__file__).parents[2] / "scenarios" / "laptop.yaml"


async def main() -> None:
    """Serves until SIGTERM."""
    settings = replace(
        settings_of(load(SCENARIO)),
        listen="127.0.0.1:0",
        store=Path(sys.argv[1]) / "store.sqlite",
        store_synchronous="full",
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scheduler = Scheduler(settings, stop)
    serving = asyncio.create_task(scheduler.run())
    print("listening on", await scheduler.wait_listening(), flush=True)
    await serving


if __name__ == "__main__":
    uvloop.run(main())
