"""A scenario on simulated engines that start and answer at once, on addresses of its own."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def free_address() -> str:
    """Find a loopback address nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def write_scenario(folder: Path) -> Path:
    """Write laptop.yaml with simulated engines into ``folder``, its workflows beside it."""
    text = (REPOSITORY / "scenarios" / "laptop.yaml").read_text()
    text = re.sub(r"127\.0\.0\.1:\d+", lambda _: free_address(), text)
    changes = {
        r"\bkind: vllm": "kind: simulated",
        r"\bengine: vllm": "engine: simulated",
        r"\bstart: [\d.]+ s": "start: 0.2 s",
        r"\bdecode_tokens_per_s: \d+": "decode_tokens_per_s: 2000",
        r"\bprefill_tokens_per_s: \d+": "prefill_tokens_per_s: 20000",
        r"path: \.\./\.models": f"path: {folder}/models",
        r"\.\./\.maestro": f"{folder}/state",
    }
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    shutil.copytree(REPOSITORY / "scenarios" / "workflows", folder / "workflows")
    (folder / "scenario.yaml").write_text(text)
    return folder / "scenario.yaml"
