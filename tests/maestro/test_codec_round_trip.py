"""Domain values survive the wire, and what the domain has no word for is named."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_builders import durations_s, llm, texts, workflow, workflows

from maestro.codec import (
    event_from_proto,
    event_to_proto,
    plan_from_proto,
    plan_to_proto,
    replica_phase_from_proto,
    replica_phase_to_proto,
    workflow_from_proto,
    workflow_status_from_proto,
    workflow_status_to_proto,
    workflow_to_proto,
)
from maestro.costs import LengthForecast
from maestro.errors import InvalidInputError
from maestro.events import StageChanged, StageRestarted, StageTokens, WorkflowChanged
from maestro.plan import Assignment, Deferral, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.reasons import Reason
from maestro.snapshot import ReplicaPhase, StageKey
from maestro.status import StageState, StageStatus, TokenUsage, WorkflowState, WorkflowStatus
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro.workflow import ToolStage

instants_s = st.floats(0, 4e9)
reasons = st.none() | st.sampled_from(Reason)
counts = st.integers(0, 2**32 - 1)
stage_statuses = st.builds(
    StageStatus,
    id=texts,
    state=st.sampled_from(StageState),
    reason=reasons,
    detail=texts,
    role=texts,
    model=texts,
    accelerator=texts,
    attempts=counts,
    lost_attempts=counts,
    refused_attempts=counts,
    attempt_id=texts,
    replica_generation=counts,
    forecast=st.none() | st.builds(LengthForecast, durations_s, durations_s, durations_s),
    kv_reserved_tokens=counts,
    usage=st.none() | st.builds(TokenUsage, counts, counts),
    output=texts,
    finish_reason=texts,
    ready_at_s=st.none() | instants_s,
    started_at_s=st.none() | instants_s,
    ended_at_s=st.none() | instants_s,
    first_token_at_s=st.none() | instants_s,
)


@given(workflows())
def test_that_any_workflow_comes_back_equal(spec):
    message = workflow_to_proto(spec)
    again = workflow_pb2.Workflow.FromString(message.SerializeToString())
    assert workflow_from_proto(again) == spec


@given(st.lists(stage_statuses, max_size=3), st.sampled_from(WorkflowState), reasons, st.none() | st.floats(1e9, 2e9))
def test_that_any_status_comes_back_equal_to_a_microsecond(stages, state, reason, ended_at_s):
    status = WorkflowStatus(
        "w", "t", "a", "s", state, 1.7e9 + 0.25, 1.8e9, reason, "why", ended_at_s, tuple(stages), {"k": "v"}, 7
    )
    again = workflow_status_from_proto(workflow_status_to_proto(status))
    assert _without_times(again) == _without_times(status)
    for ours, theirs in zip(_times(status), _times(again), strict=True):
        assert theirs == (None if ours is None else pytest.approx(ours, abs=1e-6))


def _times(status):
    stage_times = [
        time
        for stage in status.stages
        for time in (stage.ready_at_s, stage.started_at_s, stage.first_token_at_s, stage.ended_at_s)
    ]
    return [status.accepted_at_s, status.deadline_at_s, status.ended_at_s, *stage_times]


def _without_times(status):
    stages = [(s.id, s.state, s.reason, s.forecast, s.usage, s.output, s.replica_generation) for s in status.stages]
    return (status.id, status.state, status.reason, status.met_deadline, status.labels, status.sequence, stages)


@pytest.mark.parametrize("at_s", [1_732_345_678.123456, 1_732_345_678.9999999, 0.1, 12.3])
def test_that_instants_of_the_clock_come_back_exactly(at_s):
    event = StageTokens(at_s, "s", "a", 0, "x")
    assert event_from_proto(event_to_proto(event)) == event


STATUS = WorkflowStatus("w", "t", "a", "s", WorkflowState.ACTIVE, 1.0, 2.0)
EVENTS = [
    WorkflowChanged(1, 5.0, STATUS),
    StageChanged(2, 5.5, StageStatus("s", StageState.RUNNING)),
    StageRestarted(0, 6.0, "s", "attempt", Reason.ENGINE_DIED),
    StageTokens(7.0, "s", "attempt", 12, "héllo"),
]


@pytest.mark.parametrize("event", EVENTS, ids=[type(event).__name__ for event in EVENTS])
def test_that_each_kind_of_event_comes_back_equal(event):
    assert event_from_proto(event_to_proto(event)) == event


@pytest.mark.parametrize("bound", [None, 3.5])
def test_that_a_plan_comes_back_equal(bound):
    key = StageKey("w", "s")
    plan = Plan(
        taken_at_s=1_700_000_000.5,
        horizon_s=60.0,
        assignments=(Assignment(key, "gpu", "m", 1.0, 2.0, 300),),
        residencies=(Residency("gpu", "m", 0.0, 1.0, None, True, 512), Residency("gpu", "n", 2.0, 3.0, 9.0, False, 0)),
        deferred=(Deferral(StageKey("w", "t"), Reason.DEFERRED_BEYOND_HORIZON),),
        provenance=Provenance(
            7,
            PlanSource.CP_SAT,
            SolveStatus.OPTIMAL,
            4.0,
            {"late": 4.0},
            bound,
            0.1,
            0.1,
            0.2,
            0.3,
            None,
            "edf",
            5.0,
            "n",
        ),
    )
    assert plan_from_proto(plan_to_proto(plan, plan.taken_at_s)) == plan


@pytest.mark.parametrize("phase", ReplicaPhase)
def test_that_replica_phases_come_back_equal(phase):
    assert replica_phase_from_proto(replica_phase_to_proto(phase)) is phase


def test_that_an_empty_tenant_is_the_default_one():
    assert workflow_from_proto(workflow_pb2.Workflow(app="a")).tenant == "default"


def test_that_an_unspecified_context_policy_is_fail():
    message = workflow_to_proto(workflow(llm("a")))
    message.stages[0].llm.context_policy = 0
    assert workflow_from_proto(message) == workflow(llm("a"))


def test_that_a_stage_without_work_is_named():
    message = workflow_pb2.Workflow(stages=[workflow_pb2.Stage(id="a")])
    with pytest.raises(InvalidInputError, match=r"stages\[0\]: stage 'a' does nothing; set llm or tool"):
        workflow_from_proto(message)


def test_that_unknown_enum_values_are_named():
    message = workflow_to_proto(workflow(llm("a")))
    message.stages[0].llm.context_policy = 9
    with pytest.raises(InvalidInputError, match=r"stages\[0\].llm.context_policy: unknown enum value \(got 9\)"):
        workflow_from_proto(message)
    with pytest.raises(InvalidInputError, match=r"workflow.state: unknown enum value"):
        workflow_status_from_proto(workflow_pb2.WorkflowStatus())
    with pytest.raises(InvalidInputError, match="event: is of no known kind"):
        event_from_proto(scheduler_pb2.WatchWorkflowResponse())
    with pytest.raises(InvalidInputError, match="phase: unknown enum value"):
        replica_phase_from_proto(0)


def test_that_a_deadline_past_the_calendar_is_refused():
    message = workflow_pb2.Workflow(app="a")
    message.deadline.seconds = 2**60
    with pytest.raises(InvalidInputError, match="deadline: is not a time"):
        workflow_from_proto(message)


UNSENDABLE = {
    "a negative length": (workflow(llm("a", max_tokens=-1)), r"stages\[0\]"),
    "a huge priority": (workflow(llm("a"), priority=2**40), "workflow"),
    "half a character": (workflow(llm("a", content="\ud800")), r"stages\[0\]"),
    "an endless duration": (workflow(ToolStage("a", "t", duration_s=float("inf"))), r"stages\[0\].duration_s"),
    "a deadline without zone": (workflow(llm("a"), deadline=datetime(2030, 1, 1)), "deadline: has no time zone"),  # noqa: DTZ001 - the mistake under test
    "two deadlines": (
        workflow(llm("a"), deadline=datetime(2030, 1, 1, tzinfo=UTC), deadline_after_s=1.0),
        "deadline: is given twice",
    ),
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_that_what_cannot_be_sent_is_refused_before_it_is(case):
    spec, message = UNSENDABLE[case]
    with pytest.raises(InvalidInputError, match=message):
        workflow_to_proto(spec)
