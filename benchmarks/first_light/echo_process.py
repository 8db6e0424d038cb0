"""The least a durable submission can cost: gRPC, and one row in SQLite, committed in groups. Prints its address."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import uvloop

from maestro.v1 import scheduler_pb2, scheduler_pb2_grpc

Row = tuple[bytes, "asyncio.Future[None]"]


class Echo(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Answers when the request is durable; looks at nothing in it."""

    def __init__(self, store: Path) -> None:
        """Starts the writer."""
        self._loop = asyncio.get_running_loop()
        self._rows: queue.SimpleQueue[Row] = queue.SimpleQueue()
        threading.Thread(target=self._write, args=(store,), daemon=True).start()

    async def SubmitWorkflow(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """One row."""
        done = self._loop.create_future()
        self._rows.put((request.SerializeToString(), done))
        await done
        return scheduler_pb2.SubmitWorkflowResponse(workflow_id="echo")

    def _write(self, store: Path) -> None:
        connection = sqlite3.connect(store)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, payload BLOB)")
        while True:
            group = [self._rows.get()]
            while not self._rows.empty():
                group.append(self._rows.get())
            with connection:
                connection.executemany("INSERT INTO rows (payload) VALUES (?)", [(payload,) for payload, _ in group])
            self._loop.call_soon_threadsafe(_settle, [done for _, done in group])


def _settle(futures: list[asyncio.Future[None]]) -> None:
    for done in futures:
        done.set_result(None)


async def main() -> None:
    """Serves until it is ended."""
    server = grpc.aio.server()
    scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server(Echo(Path(sys.argv[1]) / "echo.sqlite"), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print("listening on", f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
