"""Lowers what a process may claim of the cores, so that it yields to those that wait for it to finish.

Niceness alone does not do that on Linux: where the kernel groups processes by session (``sched_autogroup_enabled``,
the default of most distributions), it is weighed only among processes of one session, and sessions share the cores
evenly. A session has a niceness of its own, see sched(7), 'The autogroup feature'.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

_LEAST = 19
_TRIES = 10
_TRY_AGAIN_S = 0.12  # the kernel takes one such change in 100 ms from users other than root


def lower_priority(session_leader: int, niceness: int) -> None:
    """Adds ``niceness`` (0 to 19) to a process group and gives the same to its session.

    ``session_leader`` is the pid of a process that leads both; those it starts later inherit the niceness. A process
    that has ended is left alone. May sleep for a second in all.
    """
    with suppress(ProcessLookupError):
        nice = min(_LEAST, os.getpriority(os.PRIO_PROCESS, session_leader) + niceness)
        os.setpriority(os.PRIO_PGRP, session_leader, nice)
        _nice_session(session_leader, nice)


def _nice_session(leader: int, nice: int) -> None:
    """Sets the niceness of a session, where the kernel has such a thing and allows it."""
    for _ in range(_TRIES):
        try:
            Path(f"/proc/{leader}/autogroup").write_text(str(nice))
        except BlockingIOError:
            time.sleep(_TRY_AGAIN_S)
        except OSError:
            return
        else:
            return
