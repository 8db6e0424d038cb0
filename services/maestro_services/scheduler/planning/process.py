"""The solver's process: reads snapshots from a socket, answers with plans, ends when the socket closes."""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

from maestro.errors import MaestroError
from maestro.process_priority import lower_priority
from maestro_services.scheduler.planning.messages import Answer, Incumbent, Raised, Ready, Request
from maestro_solver.planner import PlannerConfig, plan
from maestro_solver.planner.generate import generate
from maestro_solver.warm import warm

NICENESS = 15
"""Planning must never delay the scheduler, which dispatches stages."""

START_NICENESS = 5
"""Without plans nothing is loaded for a while: a start comes before engines and other work, but after the scheduler."""


def serve(connection: Connection, config: PlannerConfig) -> None:
    """Plans until the host is gone."""
    lower_priority(os.getpid(), START_NICENESS)
    warm()  # pays for compiled code, and the plan for imports and first use
    plan(generate("small", 8, 2, seed=0), config, time.monotonic)
    lower_priority(os.getpid(), NICENESS - START_NICENESS)
    connection.send(Ready())
    while True:
        request: Request = connection.recv()
        snapshot = request.snapshot
        try:
            found = plan(snapshot, config, time.monotonic, on_incumbent=lambda best: connection.send(Incumbent(best)))
        except (MaestroError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            connection.send(Raised(snapshot.version, f"{type(error).__name__}: {error}"))
        else:
            connection.send(Answer(found))


def main() -> None:
    """Entry point: the socket's file descriptor is the only argument; the configuration comes over it first."""
    connection = Connection(int(sys.argv[1]))
    try:
        config: PlannerConfig = connection.recv()
        serve(connection, config)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return


if __name__ == "__main__":
    main()
