"""The host of the solver's process: start, ask, limit, kill, replace."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

from maestro.plan import Plan
from maestro.reasons import Reason
from maestro.snapshot import Snapshot
from maestro_services.scheduler.core.events import Event, PlanMade, PlanningFailed
from maestro_services.scheduler.planning.messages import Answer, FromSolver, Incumbent, Raised, Ready, Request
from maestro_solver.planner import PlannerConfig

GRACE_S = 0.5
START_TIMEOUT_S = 60.0
LONGEST_START_S = 600.0
START_AGAIN_S = 1.0
START_PATIENCE_S = 30.0

log = logging.getLogger(__name__)


class _Process:
    """One solver process and the thread that reads from it. ``inbox`` gets its messages, then None when it ends.

    The thread closes the connection, once nothing more can come: closed beside it, the descriptor's number would be the
    next process's, and the thread would take that one's messages.
    """

    def __init__(self, config: PlannerConfig) -> None:
        ours, theirs = socket.socketpair()
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "maestro_services.scheduler.planning.process", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._in_use = threading.Lock()
        self.inbox: asyncio.Queue[FromSolver | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._connection.send(config)
        threading.Thread(target=self._read, name="solver-reader", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def send(self, snapshot: Snapshot) -> None:
        """Pickles and sends a request; called in a thread, since a large snapshot takes a while.

        Raises OSError where the process has ended.
        """
        with self._in_use:
            self._connection.send(Request(snapshot))

    def kill(self) -> None:
        """Ends it at once."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while self._hand_over(self._connection.recv()):
                pass
        with self._in_use:
            self._connection.close()
        self._hand_over(None)

    def _hand_over(self, message: FromSolver | None) -> bool:
        """Puts a message in the inbox; whether there is an event loop to take it."""
        try:
            self._loop.call_soon_threadsafe(self.inbox.put_nowait, message)
        except RuntimeError:  # the event loop has ended
            return False
        return True


class PlannerHost:
    """Keeps one solver process alive and asks it one question at a time."""

    def __init__(self, config: PlannerConfig, post: Callable[[Event], None]) -> None:
        """``post`` takes the answers as events. ``replaced`` counts the processes that were stuck or had crashed."""
        self._config = config
        self._post = post
        self._process: _Process | None = None
        self._ready = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self.replaced = 0

    def start(self) -> None:
        """Begins to start the process; a request waits a while for it to be ready."""
        self._ready.clear()
        self._starting = asyncio.create_task(self._start())

    async def close(self) -> None:
        """Ends the process."""
        for task in (self._starting, self._asking):
            if task is not None:
                task.cancel()
        if self._process is not None:
            self._process.kill()

    @property
    def pid(self) -> int | None:
        """The process id of the solver, while there is one."""
        return self._process.pid if self._process is not None else None

    async def wait_ready(self) -> None:
        """Returns once the process has warmed up."""
        await self._ready.wait()

    def request(self, snapshot: Snapshot) -> None:
        """Asks for a plan; a PlanMade or PlanningFailed event follows in any case, within the limit."""
        self._asking = asyncio.create_task(self._ask(snapshot))

    async def _start(self) -> None:
        """Starts the process, again and again until it is ready.

        One that takes too long is followed by one that may take twice as long: on a machine too busy for the first it
        would else be killed each time shortly before its end.
        """
        patience_s = START_TIMEOUT_S
        while True:
            self._process = _Process(self._config)
            try:
                first = await asyncio.wait_for(self._process.inbox.get(), patience_s)
            except TimeoutError:
                first, patience_s = None, min(2.0 * patience_s, LONGEST_START_S)
            if isinstance(first, Ready):
                self._ready.set()
                return
            log.error("the solver process did not start; trying again")
            self.replaced += 1
            self._process.kill()
            await asyncio.sleep(START_AGAIN_S)

    async def _ask(self, snapshot: Snapshot) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), START_PATIENCE_S)
        except TimeoutError:
            self._post(PlanningFailed(snapshot.version, Reason.SOLVER_NOT_READY))
            return
        process = self._running()
        best: Plan | None = None
        try:
            async with asyncio.timeout(self._config.limit_s + GRACE_S):
                await asyncio.to_thread(process.send, snapshot)
                while isinstance(message := await process.inbox.get(), Incumbent):
                    best = message.plan
        except TimeoutError:
            self._replace(process)
            self._fall_back(snapshot, best, Reason.SOLVER_TIMED_OUT)
        except OSError:
            self._replace(process)
            self._fall_back(snapshot, best, Reason.SOLVER_CRASHED)
        else:
            self._answer(process, snapshot, message, best)

    def _running(self) -> _Process:
        """The process; there is one whenever it is ready."""
        if self._process is None:
            raise RuntimeError("the solver process is ready before it was started")
        return self._process

    def _answer(self, process: _Process, snapshot: Snapshot, message: FromSolver | None, best: Plan | None) -> None:
        match message:
            case Answer(plan):
                self._post(PlanMade(plan))
            case Raised(_, error):
                log.error("the planner raised: %s", error)
                self._fall_back(snapshot, best, Reason.SOLVER_RAISED)
            case _:
                self._replace(process)
                self._fall_back(snapshot, best, Reason.SOLVER_CRASHED)

    def _fall_back(self, snapshot: Snapshot, best: Plan | None, reason: Reason) -> None:
        """The best plan that was streamed out before the end, or none."""
        if best is None:
            self._post(PlanningFailed(snapshot.version, reason))
            return
        provenance = replace(best.provenance, fallback_reason=reason)
        self._post(PlanMade(replace(best, provenance=provenance)))

    def _replace(self, process: _Process) -> None:
        log.warning("replacing the solver process %s", process.pid)
        self.replaced += 1
        process.kill()
        self.start()
