"""The client: submit workflows, watch them, fetch results. ``Client`` blocks, ``AsyncClient`` is for asyncio.

Both share ``calls`` (what goes over the wire) and ``watching`` (how a broken stream is resumed).
"""

from maestro.client.asynchronous import AsyncClient
from maestro.client.blocking import Client
from maestro.client.calls import PlanReport
from maestro.client.result import WorkflowNotSucceededError, WorkflowResult

__all__ = ["AsyncClient", "Client", "PlanReport", "WorkflowNotSucceededError", "WorkflowResult"]
