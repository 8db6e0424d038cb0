"""Both clients, each in turn, against a scripted scheduler on a real socket."""

import pytest
from client_caller import Caller
from scripted_scheduler import ScriptedScheduler, serving

import maestro


@pytest.fixture
def service():
    return ScriptedScheduler()


@pytest.fixture(params=[maestro.Client, maestro.AsyncClient], ids=["blocking", "asyncio"])
async def caller(request, service):
    async with serving(service) as address:
        found = Caller(request.param, address)
        yield found
        await found.close()
