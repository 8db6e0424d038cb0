"""Why a node refuses a command: typed errors that carry the shared reason."""

from __future__ import annotations

from maestro.errors import ConflictError, NotFoundError, OverloadedError
from maestro.reasons import Reason


class StaleCommandError(ConflictError):
    """The command is of an older scheduler epoch, or for another life of the replica than the present one."""

    def __init__(self, message: str) -> None:
        """Keep the reason with the message."""
        self.reason = Reason.STALE_GENERATION
        super().__init__(message)


class NotReadyError(ConflictError):
    """The replica is not in the phase that the command needs; ``reason`` says what it waits for."""

    def __init__(self, message: str, reason: Reason) -> None:
        """Keep the reason with the message."""
        self.reason = reason
        super().__init__(message)


class DoesNotFitError(OverloadedError):
    """Memory, a KV budget, a batch slot or an accelerator slot is used up; the command had no effect."""

    def __init__(self, message: str, reason: Reason) -> None:
        """Keep the reason with the message."""
        self.reason = reason
        super().__init__(message)


class UnknownAttemptError(NotFoundError):
    """The node has never seen the attempt, or has forgotten it."""

    def __init__(self, attempt_id: str) -> None:
        """Name the attempt."""
        super().__init__(f'attempt "{attempt_id}" is not known to this node; send ExecuteStage to run it')
