"""A node agent as a process of its own, for tests that kill it: ``python agent_process.py FOLDER``.

Prints the address it serves on, and runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from real_engine import real_model, real_node, real_settings, real_sources

from maestro_node.config import NodeConfig
from maestro_node.server.serve import serve


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = real_settings(Path(sys.argv[1]))
    config = NodeConfig("c1", real_node(), {"small": real_model()}, real_sources(), settings)
    await serve(config, stop, lambda address: sys.stdout.write(f"{address}\n") and sys.stdout.flush())


if __name__ == "__main__":
    asyncio.run(main())
