"""Workflow ids as people give them: in full, or as a beginning that only one workflow has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from maestro.client import AsyncClient

WorkflowId = Annotated[
    str, typer.Argument(metavar="ID", help="The workflow's id, or a beginning that no other workflow's id has.")
]
_SHOWN = 5
_LISTED = 1000


async def full_id(client: AsyncClient, given: str) -> str:
    """Return the id that ``given`` stands for; beginnings are looked up among the newest thousand workflows.

    Raises NotFoundError where no workflow is meant and InvalidInputError where several are.
    """
    try:
        return (await client.get(given)).id
    except NotFoundError as error:
        found = [] if not given else [name async for name in _newest(client) if name.startswith(given)]
        if not found:
            raise NotFoundError(f'there is no workflow "{given}"; `maestro status` lists those there are') from error
    if len(found) > 1:
        several = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise InvalidInputError("ID", f"is the beginning of several: {several}", value=given, remedy="give more of it")
    return found[0]


async def _newest(client: AsyncClient) -> AsyncIterator[str]:
    listed = 0
    async for workflow in client.list():
        yield workflow.id
        listed += 1
        if listed == _LISTED:
            return
