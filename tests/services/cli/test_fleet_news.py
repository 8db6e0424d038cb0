"""Claims about what `maestro up` says on its console of the fleet."""

from __future__ import annotations

from dataclasses import replace

from maestro.snapshot import ReplicaPhase
from maestro_services.cli.fleet_client import AcceleratorView, NodeView, ReplicaView
from maestro_services.cli.fleet_news import FleetNews

LOADING = ReplicaView("small", 1, ReplicaPhase.LOADING, 1, 1, 0, 0.5, "")
READY = replace(LOADING, phase=ReplicaPhase.READY, load_s=44.0)


def node(*replicas: ReplicaView, state: str = "up") -> NodeView:
    return NodeView("left", "c", "a:1", state, 0, (AcceleratorView("gpu-0", 10, 2, replicas),))


def test_a_models_life_is_told_step_by_step() -> None:
    """Tests that each step is told once."""
    news = FleetNews()
    looks = (node(), node(LOADING), node(LOADING), node(READY), node())
    assert [list(news.look([look])) for look in looks] == [
        [],
        ["small loads on gpu-0"],
        [],
        ["small is ready on gpu-0 after 44 s"],
        ["small is gone from gpu-0"],
    ]


def test_a_model_on_several_accelerators_is_told_with_all_of_them() -> None:
    """Tests a load over two accelerators, and its end."""
    news, wide = FleetNews(), replace(LOADING, peers=("gpu-1",))
    assert list(news.look([node(wide)])) == ["small loads on gpu-0+gpu-1"]
    assert list(news.look([node()])) == ["small is gone from gpu-0+gpu-1"]


def test_an_engine_that_fails_is_told_with_its_reason() -> None:
    """Tests that an operator reads why, and that the next try is news again."""
    news = FleetNews()
    failed = replace(LOADING, phase=ReplicaPhase.FAILED, detail="not ready within 300 s")
    assert list(news.look([node(failed)])) == ["small failed on gpu-0: not ready within 300 s"]
    assert list(news.look([node(replace(LOADING, generation=2))])) == ["small loads on gpu-0"]


def test_a_node_that_comes_and_goes_is_told() -> None:
    """Tests that the states of the first look are no news."""
    news = FleetNews()
    states = ("absent", "up", "up", "lost")
    assert [list(news.look([node(state=state)])) for state in states] == [[], ["left is up"], [], ["left is lost"]]
