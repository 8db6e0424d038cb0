"""What both clients make of a workflow that has ended, and of one that is given as a file."""

import pickle

import pytest
from scripted_scheduler import status
from workflow_builders import llm, workflow

import maestro
from maestro.errors import InvalidInputError
from maestro.events import WorkflowChanged
from maestro.reasons import Reason
from maestro.status import WorkflowState

EVENTS = [
    WorkflowChanged(1, 1.0, status(stages=())),
    WorkflowChanged(3, 3.0, status(state=WorkflowState.SUCCEEDED, stages=())),
]


async def test_that_a_result_has_outputs_and_failures(caller, service):
    service.events = EVENTS
    service.statuses["w1"] = status(state=WorkflowState.FAILED)
    result = await caller.call("result", "w1", check=False)
    assert not result.succeeded
    assert result.outputs == {"draft": "a draft"}
    assert [stage.id for stage in result.failures] == ["review"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": WorkflowState.FAILED}, r"workflow w1 failed: review \(no engine\)"),
        (
            {"state": WorkflowState.CANCELLED, "stages": (), "reason": Reason.CANCELLED_BY_CLIENT},
            "workflow w1 cancelled: cancelled_by_client",
        ),
    ],
)
async def test_that_a_result_of_what_did_not_succeed_raises_and_carries_it(caller, service, changes, message):
    service.events = EVENTS
    service.statuses["w1"] = status(**changes)
    with pytest.raises(maestro.WorkflowNotSucceededError, match=message) as caught:
        await caller.call("result", "w1")
    assert caught.value.result.status == status(**changes)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_that_a_workflow_file_can_be_submitted_and_its_faults_have_lines(caller, service, tmp_path):
    file = tmp_path / "notes.yaml"
    file.write_text("app: notes\nstages:\n  - {id: a, role: writer, models: m, prompt: Hello., max_tokens: 10}\n")
    await caller.call("submit", str(file))
    assert service.submitted == [workflow(llm("a"))]
    file.write_text(file.read_text().replace("}", ", after: b}"))
    with pytest.raises(InvalidInputError, match=r"notes.yaml:3: stages\[0\].after"):
        await caller.call("submit", file)
