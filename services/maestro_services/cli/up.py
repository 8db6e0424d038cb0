"""``maestro up``: a scheduler and this machine's nodes in one command, each a process of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError, MaestroError
from maestro_services.cli.exit_codes import ExitCode
from maestro_services.cli.output import JsonOption, console, emit_json, notices
from maestro_services.cli.service import LogLevel, run_service
from maestro_services.cli.supervision import ChildSpec, RestartPolicy, supervise

if TYPE_CHECKING:
    from maestro.scenario import ConfiguredNode, Scenario

_POLL_S = 0.25
_LOOK_S = 2.0
_STOP_SLACK_S = 15.0  # beyond what the engines are given, for the services around them
_POLICY = RestartPolicy(final_statuses=frozenset({ExitCode.INVALID_INPUT}))


def up(
    scenario: Annotated[Path, typer.Argument(help="The scenario file.")],
    as_json: JsonOption = False,
) -> None:
    """Run a scheduler and every node of the scenario that listens on this machine, until SIGINT or SIGTERM.

    A process that dies is started again; ending one ends no other.
    """
    from maestro.scenario import load

    run_service(partial(_run, load(scenario), scenario, as_json), LogLevel.WARNING)


async def _run(scenario: Scenario, scenario_file: Path, as_json: bool, stop: asyncio.Event) -> None:
    """Keep scheduler and nodes alive until ``stop``; say when all nodes have registered."""
    from maestro_services.cli.up_record import UpRecord, record_file

    nodes = [node for node in scenario.nodes.values() if _is_local(node.listen)]
    record = UpRecord(record_file(scenario.scheduler.store))
    record.check()
    _ensure_free("scheduler.listen", scenario.scheduler.listen)
    for node in nodes:
        _ensure_free(f"{node.name}.listen", node.listen)
    children = _children(scenario_file, nodes, scenario.engine.log_dir)
    _ensure_writable(scenario.engine.log_dir, children)
    record.begin()
    _announce("starting", scenario, nodes, as_json)
    readiness = asyncio.create_task(_tell_of_fleet(scenario, nodes, as_json))
    try:
        await supervise(
            children,
            stop,
            policy=_POLICY,
            stop_timeout_s=_child_stop_timeout_s(scenario),
            on_notice=_notice,
            on_start=record.note,
        )
    finally:
        record.end()
        readiness.cancel()
        with suppress(asyncio.CancelledError):
            await readiness


def stop_timeout_s(scenario: Scenario) -> float:
    """Return the seconds within which all of it has ended after it was asked to, kills included."""
    return _child_stop_timeout_s(scenario) + _STOP_SLACK_S


def _child_stop_timeout_s(scenario: Scenario) -> float:
    return scenario.engine.stop_timeout_s + _STOP_SLACK_S


def _notice(text: str) -> None:
    """Say with the time what happened; not a result, so on standard error."""
    notices().print(f"{_now_text()} {text}", soft_wrap=True)


def _now_text() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _children(scenario_file: Path, nodes: list[ConfiguredNode], log_folder: Path) -> list[ChildSpec]:
    """Return the scheduler first: nodes wait for it by themselves."""
    maestro = (sys.executable, "-m", "maestro_services.cli")
    scheduler = ChildSpec("scheduler", (*maestro, "serve", str(scenario_file)), log_folder / "scheduler.log")
    return [scheduler] + [
        ChildSpec(
            node.name,
            (*maestro, "node", "--scenario", str(scenario_file), "--name", node.name),
            log_folder / f"{node.name}.log",
        )
        for node in nodes
    ]


async def _tell_of_fleet(scenario: Scenario, nodes: list[ConfiguredNode], as_json: bool) -> None:
    """Say so once all local nodes have registered with the scheduler; then tell what changes among nodes and models."""
    from maestro_services.cli.fleet_client import list_nodes
    from maestro_services.cli.fleet_news import FleetNews

    waited_for, news = {node.name for node in nodes}, FleetNews()
    while True:
        with suppress(MaestroError):
            seen = await list_nodes(scenario.scheduler.listen)
            if waited_for and not (waited_for := waited_for - {node.name for node in seen if node.state == "up"}):
                _announce("ready", scenario, nodes, as_json)
            for line in news.look(seen):
                _notice(line)
        await asyncio.sleep(_POLL_S if waited_for else _LOOK_S)


def _announce(event: str, scenario: Scenario, nodes: list[ConfiguredNode], as_json: bool) -> None:
    """Print where everything is."""
    addresses = {node.name: node.listen for node in nodes}
    elsewhere = sorted(set(scenario.nodes) - set(addresses))
    if as_json:
        found = {
            "event": event,
            "scheduler": scenario.scheduler.listen,
            "nodes": addresses,
            "nodes_elsewhere": elsewhere,
            "log_dir": scenario.engine.log_dir,
        }
        emit_json(found, indent=None)
        return
    where = ", ".join(f"{name} {address}" for name, address in addresses.items()) or "none"
    others = f"; to be started elsewhere: {', '.join(elsewhere)}" if elsewhere else ""
    console().print(
        f"{_now_text()} {event}: scheduler {scenario.scheduler.listen}; nodes {where}{others}; "
        f"logs in {scenario.engine.log_dir}",
        soft_wrap=True,
    )


def _is_local(address: str) -> bool:
    """Tell whether this machine can listen on the host of ``host:port``."""
    try:
        _bind(address.rpartition(":")[0], 0)
    except OSError:
        return False
    return True


def _ensure_writable(log_folder: Path, children: list[ChildSpec]) -> None:
    """Make the folder and every log in it; raises InvalidInputError where that cannot be done."""
    try:
        log_folder.mkdir(parents=True, exist_ok=True)
        for child in children:
            child.log_file.open("ab").close()
    except OSError as error:
        raise InvalidInputError(
            "engine.log_dir",
            f"cannot be written: {error.strerror} ({error.filename})",
            value=str(log_folder),
            remedy="name a folder that this user may write",
        ) from error


def _ensure_free(key: str, address: str) -> None:
    """Raise InvalidInputError for the scenario's ``key`` where something listens on ``host:port`` already."""
    host, _, port = address.rpartition(":")
    try:
        _bind(host, int(port))
    except OSError as error:
        raise InvalidInputError(
            key, f"cannot be bound: {error.strerror}", value=address, remedy="stop what uses it, or choose another"
        ) from error


def _bind(host: str, port: int) -> None:
    """Bind and let go again."""
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
