"""What the ``maestro`` command's exit codes mean: one table from errors to codes."""

from __future__ import annotations

from enum import IntEnum

from maestro.errors import (
    ConflictError,
    DeadlineExceededError,
    InfeasibleError,
    InvalidInputError,
    MaestroError,
    NotFoundError,
    OverloadedError,
    UnreachableError,
    UnsupportedError,
)
from maestro_services.cli.supervision import ChildFailedError


class ExitCode(IntEnum):
    """Exit codes of the ``maestro`` command."""

    SUCCESS = 0
    FAILED = 1
    INVALID_INPUT = 2
    INFEASIBLE = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


_CODES: tuple[tuple[type[MaestroError], ExitCode], ...] = (
    (InvalidInputError, ExitCode.INVALID_INPUT),
    (NotFoundError, ExitCode.INVALID_INPUT),
    (ConflictError, ExitCode.INVALID_INPUT),
    (UnsupportedError, ExitCode.INVALID_INPUT),
    (ChildFailedError, ExitCode.INVALID_INPUT),  # it ended with this code itself, which restarts would not mend
    (InfeasibleError, ExitCode.INFEASIBLE),
    (DeadlineExceededError, ExitCode.TIMED_OUT),
    (UnreachableError, ExitCode.UNREACHABLE),
    (OverloadedError, ExitCode.UNREACHABLE),  # like a server that is away: the same command may work later
)


def exit_code(error: MaestroError) -> ExitCode:
    """Return the code that a command ends with when it raises ``error``."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
