"""An auditor outside the node: what engine processes hold in memory and in KV, sampled every second.

    python engine_auditor.py ROOT_PID OUTPUT

Finds vLLM's API servers among the descendants of ROOT_PID, takes each one's whole process tree, and appends a JSON line
a sample to OUTPUT. It uses nothing of Maestro: process tables and vLLM's own metrics.
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

import psutil

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


def sample(root: int, number: int) -> list[dict[str, Any]]:
    """One line for every engine that lives now; ``number`` says which lines belong together."""
    found = []
    for process, path, name, node in engines(root):
        try:
            resident, processes = resident_bytes(process)
        except psutil.NoSuchProcess:
            continue
        found.append(
            {
                "sample": number,
                "node": node,
                "model": name,
                "pid": process.pid,
                "processes": processes,
                "resident_bytes": resident,
                "kv_usage": kv_usage(path),
            }
        )
    return found


def main() -> None:
    """Samples until it is ended."""
    root, output = int(sys.argv[1]), sys.argv[2]
    for number in itertools.count():
        started = time.monotonic()
        with Path(output).open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in sample(root, number))
        time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))


if __name__ == "__main__":
    main()
