"""An auditor outside the node: what engines hold and what the nodes say that they have promised, sampled every second.

    python engine_auditor.py ROOT_PID OUTPUT ADDRESS...

Finds vLLM's API servers among the descendants of ROOT_PID, takes each one's whole process tree, and asks the nodes at
the ADDRESSes for their status. Appends JSON lines to OUTPUT: one an engine and one a replica for every sample. What
engines hold is read from process tables and vLLM's own metrics; of Maestro it uses only the wire contract.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil

from maestro.v1 import node_pb2, node_pb2_grpc

STATUS_TIMEOUT_S = 2.0
_KV_USAGE = re.compile(r"^vllm:kv_cache_usage_perc\{[^}]*\} ([0-9.e+-]+)$", re.MULTILINE)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=2.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(2.0)
        self.sock.connect(self._path)


def engines(root: int) -> Iterator[tuple[psutil.Process, str, str, str]]:
    """API servers below the process ``root``: each with its socket, the name it serves and the node it belongs to."""
    for process in psutil.Process(root).children(recursive=True):
        try:
            words, agent = process.cmdline(), process.parent()
            owner = agent.cmdline() if agent is not None else []
        except psutil.Error:
            continue
        if "vllm.entrypoints.openai.api_server" in words and "--name" in owner:
            name = words[words.index("--served-model-name") + 1]
            yield process, words[words.index("--uds") + 1], name, owner[owner.index("--name") + 1]


def resident_bytes(process: psutil.Process) -> tuple[int, int]:
    """Memory of the process tree (pages shared inside it counted once) and how many processes it has."""
    total, count = 0, 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
            count += 1
        except psutil.Error:
            continue
    return total, count


def kv_usage(path: str) -> float | None:
    """The share of its KV cache that the engine says is in use; None while it does not answer."""
    try:
        connection = UnixConnection(path)
        connection.request("GET", "/metrics")
        found = _KV_USAGE.search(connection.getresponse().read().decode())
    except (OSError, http.client.HTTPException):
        return None
    return float(found[1]) if found else None


class NodeObserver:
    """Asks nodes for their status, as any client could."""

    def __init__(self, addresses: list[str]) -> None:
        """``addresses`` are host:port of each node's gRPC service."""
        self._stubs = [node_pb2_grpc.NodeServiceStub(grpc.insecure_channel(address)) for address in addresses]

    def replicas(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every replica by node and model; a node that does not answer shows none."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for stub in self._stubs:
            try:
                status = stub.GetStatus(node_pb2.GetStatusRequest(), timeout=STATUS_TIMEOUT_S)
            except grpc.RpcError:
                continue
            for accelerator in status.accelerators:
                for replica in accelerator.replicas:
                    found[status.node, replica.replica.model] = _replica_line(status, replica)
        return found


def _replica_line(status: node_pb2.GetStatusResponse, replica: node_pb2.ReplicaStatus) -> dict[str, Any]:
    running = [
        attempt
        for attempt in status.attempts
        if attempt.replica == replica.replica and attempt.state == node_pb2.ATTEMPT_STATE_RUNNING
    ]
    return {
        "node": status.node,
        "accelerator": replica.replica.accelerator,
        "model": replica.replica.model,
        "generation": replica.replica.generation,
        "phase": node_pb2.ReplicaPhase.Name(replica.phase),
        "kv_pool_bytes": replica.kv_pool_bytes,
        "kv_reserved_bytes": replica.kv_reserved_bytes,
        "running": len(running),
    }


def sample(root: int, nodes: NodeObserver, number: int) -> list[dict[str, Any]]:
    """Lines for every replica and engine that lives now; ``number`` says which lines belong together.

    The nodes are asked right before and right after the engines' KV: what an engine held in between was promised at one
    of the two. Memory is added up before that, since it takes seconds where the machine is busy.
    """
    engines_found = list(_engine_lines(root))
    before = nodes.replicas()
    engine_lines = [line | {"kv_usage": kv_usage(path)} for line, path in engines_found]
    after = nodes.replicas()
    for line in engine_lines:
        shown = [
            found[line["node"], line["model"]] for found in (before, after) if (line["node"], line["model"]) in found
        ]
        for key in ("kv_reserved_bytes", "running", "kv_pool_bytes"):
            line[key] = max((replica[key] for replica in shown), default=None)
    stamp = {"sample": number, "at_s": time.time()}
    replica_lines = [stamp | {"kind": "replica"} | replica for replica in after.values()]
    return [*replica_lines, *(stamp | {"kind": "engine"} | line for line in engine_lines)]


def _engine_lines(root: int) -> Iterator[tuple[dict[str, Any], str]]:
    """For every engine a line, and the socket on which it tells of its KV."""
    for process, path, name, node in engines(root):
        try:
            resident, processes = resident_bytes(process)
        except psutil.NoSuchProcess:
            continue
        line = {
            "node": node,
            "model": name,
            "pid": process.pid,
            "processes": processes,
            "resident_bytes": resident,
        }
        yield line, path


def main() -> None:
    """Samples until it is ended."""
    root, output, nodes = int(sys.argv[1]), sys.argv[2], NodeObserver(sys.argv[3:])
    for number in itertools.count():
        started = time.monotonic()
        with Path(output).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in sample(root, nodes, number))
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))


if __name__ == "__main__":
    main()
