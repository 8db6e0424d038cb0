"""Typed errors. Each names what was wrong, the value that was seen, and what to do about it."""

from __future__ import annotations


class MaestroError(Exception):
    """Base of every error that Maestro raises on purpose."""


class InvalidInputError(MaestroError):
    """A value that a caller gave cannot be used.

    ``field`` is a dotted path to the value (``stages[2].after[0]``), ``value`` what stood there (cut to a readable
    length in the message), ``problem`` what is wrong with it and ``remedy`` what the caller can do.
    """

    def __init__(self, field: str, problem: str, *, value: object = None, remedy: str = "") -> None:
        """Keep the parts apart, so that a server can send them as structured details."""
        self.field = field
        self.problem = problem
        self.value = value
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        """One line: the field, the problem, the value where there is one, the remedy."""
        shown = "" if self.value is None else f" (got {_shorten(repr(self.value))})"
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.field}: {self.problem}{shown}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        """Let the error cross a process boundary whole."""
        return (_rebuild_invalid_input, (type(self), self.field, self.problem, self.value, self.remedy))


class NotFoundError(MaestroError):
    """The named workflow, stage, node or plan does not exist."""


class ConflictError(MaestroError):
    """The request contradicts what was accepted before (a reused idempotency key, a stale generation)."""


class OverloadedError(MaestroError):
    """A bounded queue is full; the request had no effect and can be sent again later."""


class UnreachableError(MaestroError):
    """A server did not answer."""


class InfeasibleError(MaestroError):
    """No plan can satisfy the hard constraints; the message names the one that binds and the least that would do."""


class DeadlineExceededError(MaestroError):
    """An operation did not end within the time it was given."""


class UnsupportedError(MaestroError):
    """The capability is not built, or this node does not have it."""


def _rebuild_invalid_input(
    kind: type[InvalidInputError], field: str, problem: str, value: object, remedy: str
) -> InvalidInputError:
    return kind(field, problem, value=value, remedy=remedy)


def _shorten(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
