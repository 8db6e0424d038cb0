"""Ending solves from outside: at an instant, or all at once when their results no longer matter."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ortools.sat.python import cp_model


class Stopper:
    """Knows the solves that run; CP-SAT's own limit can overrun in presolve, so every one has a timer besides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[cp_model.CpSolver] = set()
        self._stopped = False

    @contextmanager
    def watching(self, solver: cp_model.CpSolver, wall_s: float) -> Iterator[None]:
        """Stop the solver after ``wall_s`` (infinite: never), or when all are stopped."""
        with self._lock:
            self._running.add(solver)
            if self._stopped:  # a solve that has not begun yet does not hear the call
                solver.parameters.max_time_in_seconds = 0.0
        timer = threading.Timer(min(max(0.0, wall_s), threading.TIMEOUT_MAX), solver.stop_search)
        timer.daemon = True
        if wall_s < math.inf:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._running.discard(solver)

    def stop(self) -> None:
        """Stop every solve that runs or is begun later."""
        with self._lock:
            self._stopped = True
            for solver in self._running:
                solver.stop_search()
