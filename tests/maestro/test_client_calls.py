"""Both clients against a scheduler service on a real socket."""

import asyncio
import math
import subprocess
import sys

import grpc
import networkx as nx
import pytest
from client_caller import Caller
from scripted_scheduler import ScriptedScheduler, serving, status
from workflow_builders import llm, workflow

import maestro
from maestro.codec import plan_to_proto
from maestro.errors import (
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    OverloadedError,
    UnreachableError,
)
from maestro.events import StageChanged, StageRestarted, StageTokens, WorkflowChanged
from maestro.plan import Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro.status import StageState, StageStatus, WorkflowState


async def test_that_a_workflow_arrives_as_it_was_submitted(caller, service):
    spec = workflow(llm("a"), llm("b", "a", content="{{a.output}}"))
    assert await caller.call("submit", spec) == "w1"
    assert service.submitted == [spec]


async def test_that_a_networkx_graph_can_be_submitted(caller, service):
    graph = nx.DiGraph(app="notes")
    graph.add_node("a", role="writer", models="m", prompt="Hello.", max_tokens=10)
    await caller.call("submit", graph)
    assert service.submitted == [workflow(llm("a"))]


async def test_that_a_workflow_of_many_megabytes_passes_the_wire(caller, service):
    await caller.call("submit", workflow(llm("a", content="x" * 20_000_000)))
    assert len(service.submitted[0].stages[0].messages[0].content) == 20_000_000


async def test_that_a_refusal_keeps_field_and_remedy(caller, service):
    service.refusal = InvalidInputError("stages[0].models[0]", "unknown model", value="x", remedy="use m")
    with pytest.raises(InvalidInputError) as caught:
        await caller.call("submit", workflow(llm("a")))
    assert (caught.value.field, caught.value.remedy) == ("stages[0].models[0]", "use m")


EVENTS = [
    WorkflowChanged(1, 1.0, status(stages=())),
    StageTokens(1.5, "a", "t1", 0, "He"),
    StageRestarted(0, 2.0, "a", "t1", Reason.ENGINE_DIED),
    StageChanged(2, 2.0, StageStatus("a", StageState.WAITING, attempts=1)),
    StageTokens(2.5, "a", "t2", 0, "Hello"),
    WorkflowChanged(3, 3.0, status(state=WorkflowState.SUCCEEDED, stages=())),
]
TRANSITIONS = [event for event in EVENTS if isinstance(event, StageChanged | WorkflowChanged)]


async def test_that_a_watch_yields_typed_events_until_the_end(caller, service):
    service.events = EVENTS
    assert await caller.call("watch", "w1", tokens=True) == EVENTS
    assert service.watched_from == [0]


@pytest.mark.parametrize("how", [grpc.StatusCode.UNAVAILABLE, OverloadedError("too slow")], ids=["broken", "too slow"])
async def test_that_a_broken_watch_resumes_after_the_last_transition_it_saw(caller, service, how):
    service.events = TRANSITIONS
    service.breaks = [(1, how), (0, how), (1, how)]
    assert await caller.call("watch", "w1") == service.events
    assert service.watched_from == [0, 1, 1, 2]


async def test_that_a_watch_can_start_after_a_sequence_number(caller, service):
    service.events = TRANSITIONS
    assert await caller.call("watch", "w1", after_sequence=2) == service.events[-1:]


async def test_that_a_transition_told_twice_is_yielded_once(caller, service):
    service.events = [EVENTS[0], EVENTS[0], EVENTS[-1]]
    assert await caller.call("watch", "w1") == [EVENTS[0], EVENTS[-1]]


async def test_that_a_watch_gives_up_when_its_patience_ends(caller, service):
    service.breaks = [(0, grpc.StatusCode.UNAVAILABLE)] * 50
    with pytest.raises(UnreachableError, match=r"no answer from 127\.0\.0\.1"):
        await caller.call("watch", "w1", patience_s=0.1)


async def test_that_a_watch_of_nothing_is_not_tried_again(caller, service):
    service.refusal = NotFoundError("there is no workflow w9")
    with pytest.raises(NotFoundError, match="there is no workflow w9"):
        await caller.call("watch", "w9")


async def test_that_a_result_that_takes_too_long_is_said_so(caller, service):
    service.breaks = [(0, grpc.StatusCode.UNAVAILABLE)] * 100
    with pytest.raises(DeadlineExceededError, match=r"w1 has not ended within 0.3 s; it goes on"):
        await caller.call("result", "w1", timeout_s=0.3)


async def test_that_a_stream_that_ends_before_the_workflow_does_not_end_the_wait(caller, service):
    service.statuses["w1"] = status()
    waiting = asyncio.create_task(caller.call("result", "w1", timeout_s=20))
    await service.watches.get()
    service.statuses["w1"] = status(state=WorkflowState.SUCCEEDED)
    assert (await waiting).succeeded


async def test_that_get_returns_the_whole_status_and_not_found_is_typed(caller, service):
    service.statuses["w1"] = status()
    assert await caller.call("get", "w1") == status()
    with pytest.raises(NotFoundError, match="there is no workflow w2"):
        await caller.call("get", "w2")


async def test_that_lists_are_paged_to_their_end(caller, service):
    for number in range(5):
        tenant = "even" if number % 2 == 0 else "odd"
        service.statuses[f"w{number}"] = status(f"w{number}", WorkflowState.ACTIVE, tenant=tenant)
    service.statuses["w4"] = status("w4", WorkflowState.FAILED, tenant="even")
    assert [found.id for found in await caller.call("list")] == ["w0", "w1", "w2", "w3", "w4"]
    assert [found.id for found in await caller.call("list", tenant="even", state=WorkflowState.FAILED)] == ["w4"]


async def test_that_cancel_tells_the_state_after_it(caller):
    assert await caller.call("cancel", "w1") is WorkflowState.CANCELLED


async def test_that_a_tool_ends_with_an_output_or_an_error(caller, service):
    await caller.call("complete_stage", "w1", "t", output="")
    await caller.call("complete_stage", "w1", "t", error="no network")
    assert [request.WhichOneof("result") for request in service.completed] == ["output", "error"]
    for given in ({}, {"output": "x", "error": "y"}):
        with pytest.raises(InvalidInputError, match="exactly one"):
            await caller.call("complete_stage", "w1", "t", **given)


async def test_that_the_plan_in_force_is_typed(caller, service):
    assert (await caller.call("plan")).plan is None
    provenance = Provenance(1, PlanSource.CP_SAT, SolveStatus.OPTIMAL, 1.0, {"late": 1.0})
    plan = Plan(5.0, 60.0, (), (), (), provenance)
    service.plan.plan.CopyFrom(plan_to_proto(plan, 5.0))
    service.plan.plans_by_source["cp_sat"] = 3
    report = await caller.call("plan")
    assert report.plan == plan
    assert report.plans_by_source == {"cp_sat": 3}


@pytest.mark.parametrize("kind", [maestro.Client, maestro.AsyncClient], ids=["blocking", "asyncio"])
async def test_that_an_absent_scheduler_is_unreachable_with_address_and_remedy(kind):
    caller = Caller(kind, "127.0.0.1:1")
    with pytest.raises(UnreachableError, match=r"no answer from 127.0.0.1:1 .*start a scheduler there"):
        await caller.call("plan")
    await caller.close()


@pytest.mark.parametrize("kind", [maestro.Client, maestro.AsyncClient], ids=["blocking", "asyncio"])
async def test_that_a_watch_survives_a_restart_of_the_scheduler(kind):
    before, after = ScriptedScheduler(), ScriptedScheduler()
    before.events, after.events = EVENTS[:1], EVENTS[:1] + EVENTS[-1:]
    before.breaks = [(1, grpc.StatusCode.UNAVAILABLE), *[(0, grpc.StatusCode.UNAVAILABLE)] * 50]
    async with serving(before) as address:
        caller = Caller(kind, address)
        watching = asyncio.create_task(caller.call("watch", "w1"))
        assert [await before.watches.get(), await before.watches.get()] == [0, 1]
    async with serving(after, address):
        assert await watching == EVENTS[:1] + EVENTS[-1:]
        assert after.watched_from == [1]
        await caller.close()


def test_that_importing_maestro_loads_neither_grpc_nor_networkx():
    code = "import sys, maestro; print([m for m in ('grpc', 'networkx', 'pydantic') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_that_everything_promised_is_there():
    assert all(getattr(maestro, name) for name in maestro.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        maestro.Clint  # noqa: B018 - reading the attribute is the test


@pytest.mark.parametrize(
    ("field", "call", "arguments", "options"),
    [
        ("workflow", "submit", (42,), {}),
        ("workflow", "submit", ({"app": "a", "stages": []},), {}),
        ("workflow", "submit", (nx.Graph(),), {}),
        ("stages[0]", "submit", (workflow(llm("a", content="\ud800")),), {}),
        ("after_sequence", "watch", ("w1",), {"after_sequence": -1}),
        ("after_sequence", "watch", ("w1",), {"after_sequence": 2**64}),
        ("after_sequence", "watch", ("w1",), {"after_sequence": "1"}),
        ("patience_s", "watch", ("w1",), {"patience_s": math.nan}),
        ("timeout_s", "watch", ("w1",), {"timeout_s": -1}),
        ("timeout_s", "result", ("w1",), {"timeout_s": "soon"}),
        ("workflow_id", "watch", (5,), {}),
        ("workflow_id", "result", (None,), {}),
        ("workflow_id", "get", (5,), {}),
        ("workflow_id", "get", ("\ud800",), {}),
        ("workflow_id", "cancel", (b"w1",), {}),
        ("tenant", "list", (), {"tenant": 5}),
        ("state", "list", (), {"state": "dead"}),
        ("stage_id", "complete_stage", ("w1", 5), {"output": "x"}),
        ("output", "complete_stage", ("w1", "t"), {"output": {}}),
        ("error", "complete_stage", ("w1", "t"), {"error": "\ud800"}),
    ],
)
async def test_that_what_cannot_be_sent_is_refused_by_name(caller, field, call, arguments, options):
    with pytest.raises(InvalidInputError) as caught:
        await caller.call(call, *arguments, **options)
    assert caught.value.field == field
    if field != "stages[0]":
        assert caught.value.value is not None or arguments == (None,)
        assert caught.value.remedy


@pytest.mark.parametrize("kind", [maestro.Client, maestro.AsyncClient], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("address", ["", " ", None, 50050, "localhost", "localhost:99999"])
async def test_that_an_address_is_needed(kind, address):
    with pytest.raises(InvalidInputError, match=r"address: .*; ") as caught:
        kind(address)
    assert caught.value.value == address
    with pytest.raises(InvalidInputError, match="timeout_s"):
        kind(timeout_s=-1)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("get", ("w1",)), ("submit", (workflow(llm("a")),)), ("watch", ("w1",)), ("list", ()), ("plan", ())],
)
async def test_that_a_closed_client_says_so(caller, call, arguments):
    await caller.close()
    await caller.close()
    with pytest.raises(InvalidInputError, match=r"client: is closed .*; open another"):
        await caller.call(call, *arguments)


async def test_that_a_watch_ends_when_its_time_is_over(caller, service):
    service.breaks = [(0, grpc.StatusCode.UNAVAILABLE)] * 100
    with pytest.raises(DeadlineExceededError):
        await caller.call("watch", "w1", timeout_s=0.3)


async def test_that_the_longest_time_limits_are_none(caller, service):
    service.events = TRANSITIONS
    for timeout_s in (math.inf, 1e300):
        assert await caller.call("watch", "w1", timeout_s=timeout_s, patience_s=math.inf) == TRANSITIONS
