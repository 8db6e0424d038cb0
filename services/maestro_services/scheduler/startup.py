"""What a scheduler takes hold of as it starts, its store and its address; what is in the way is the scenario's fault.

Each raises InvalidInputError that names the scenario's key: trying again would not help, and an operator can mend it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
from alembic.util import CommandError
from sqlalchemy.exc import DatabaseError

from maestro.errors import InvalidInputError
from maestro_services.scheduler.settings import SchedulerSettings
from maestro_services.scheduler.store import Store


def opened_store(
    settings: SchedulerSettings, failed: Callable[[BaseException], None], turns: asyncio.AbstractEventLoop
) -> Store:
    """The store at ``scheduler.store``; its other arguments are those of ``Store``.

    Raises InvalidInputError for a folder that cannot be created or written and for a file that is no store,
    ConflictError where another scheduler has it open.
    """
    try:
        return Store(settings.store, synchronous=settings.store_synchronous, failed=failed, turns=turns)
    except OSError as error:
        cause = error.strerror or str(error)
        raise _unusable_store(settings, f"cannot be opened: {cause}") from error
    except DatabaseError as error:
        raise _unusable_store(settings, f"cannot be used as a store: {error.orig}") from error
    except CommandError as error:
        raise _unusable_store(settings, f"was not written by this version of Maestro: {error}") from error


def bound_port(server: grpc.aio.Server, listen: str) -> int:
    """Binds ``scheduler.listen`` and returns its port, which the system chose where it was 0."""
    try:
        return server.add_insecure_port(listen)
    except RuntimeError as error:
        raise InvalidInputError(
            "scheduler.listen", "cannot be bound", value=listen, remedy="stop what uses it, or choose another"
        ) from error


def _unusable_store(settings: SchedulerSettings, problem: str) -> InvalidInputError:
    return InvalidInputError(
        "scheduler.store", problem, value=str(settings.store), remedy="name a new file in a folder that can be written"
    )
