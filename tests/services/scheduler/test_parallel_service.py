"""A model over two accelerators in a whole Maestro: scheduler and node speak of its peers over the wire."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from parallel_fleet import NODE, fleet
from service_world import PATIENCE_S, World, call, producing, world

from maestro.status import WorkflowState
from maestro.workflow import WorkflowSpec
from maestro_services.cli.fleet_client import AcceleratorView, list_nodes


def long_stage() -> WorkflowSpec:
    """A stage of the wide model that runs for seconds."""
    long = call("long", models=("wide",), max_tokens=1200)
    return WorkflowSpec("essays", (replace(long, sampling=replace(long.sampling, min_tokens=1200, ignore_eos=True)),))


async def accelerators(maestro: World) -> dict[str, AcceleratorView]:
    """What the node's accelerators hold, as an operator sees it."""
    (node,) = await list_nodes(maestro.address)
    return {found.name: found for found in node.accelerators}


async def test_stages_of_both_models_run_and_tell_where(tmp_path: Path) -> None:
    chain = WorkflowSpec("essays", (call("a"), call("b", "a", models=("wide",)), call("c", "b")))
    async with world(tmp_path, of=fleet()) as maestro:
        result = await maestro.client.result(await maestro.client.submit(chain), timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        places = {stage.id: (stage.accelerator, stage.peers) for stage in result.status.stages}
        assert places["b"] in {("g0", ("g1",)), ("g2", ("g3",))}
        assert places["a"][1] == ()


async def test_a_replica_and_its_attempt_are_taken_over_by_the_next_scheduler(tmp_path: Path) -> None:
    """Tests that memory on every accelerator is known again, and that nothing is loaded or run twice."""
    async with world(tmp_path, of=fleet()) as maestro:
        workflow_id = await maestro.client.submit(long_stage())
        await producing(maestro.client, workflow_id, "long")
        before = await accelerators(maestro)
        place = next(name for name, found in before.items() if found.replicas)
        (replica,) = before[place].replicas
        assert (place, replica.peers) in {("g0", ("g1",)), ("g2", ("g3",))}
        assert [before[name].charged_bytes for name in (place, *replica.peers)] == [before[place].charged_bytes] * 2
        await maestro.stop_scheduler()
        await maestro.restart_scheduler()
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.stages[0].attempts == 1
        assert (await accelerators(maestro))[place].replicas[0].generation == replica.generation
        records = maestro.scheduler.loop.core._state.accelerators
        assert [kept.model for _, kept in records[replica.peers[0]].residents()] == ["wide"]


async def test_a_node_that_comes_back_without_its_engines_loads_the_model_again(tmp_path: Path) -> None:
    async with world(tmp_path, {NODE: False}, of=fleet()) as maestro:
        await maestro.start_node(NODE, dawdling=True)
        workflow_id = await maestro.client.submit(long_stage())
        await producing(maestro.client, workflow_id, "long")
        await maestro.stop_node(NODE)
        await maestro.start_node(NODE)
        result = await maestro.client.result(workflow_id, timeout_s=PATIENCE_S)
        assert result.status.state is WorkflowState.SUCCEEDED
        assert result.status.stages[0].attempts == 2
