"""A small valid scenario as text, for tests that change one thing in it."""

from __future__ import annotations

from pathlib import Path

SMALL = """\
version: 1
fleet:
  clusters:
    - name: here
      nodes:
        - name: box
          listen: 127.0.0.1:7001
          host_memory: 8 GiB
          disk_bandwidth: 1 GB/s
          host_to_device_bandwidth: 10 GB/s
          accelerators:
            - {name: gpu, kind: k, memory: 24 GiB, slots: 8}
models:
  - name: small
    path: models/small
    weights: 6 GB
    kv_bytes_per_token: 1000
    kv_pool: 1 GiB
    overhead: 1 GiB
    context_tokens: 4096
    max_batch: 8
    speeds:
      k: {prefill_tokens_per_s: 1000, decode_tokens_per_s: 50, batch_slope: 0.1, colocation_slope: 1, start: 10 s}
slo_classes:
  - {name: standard, deadline_factor: 5, weight: 1}
default_slo_class: standard
engine:
  kind: simulated
"""


def written(folder: Path, text: str) -> Path:
    """Write a scenario into ``folder``."""
    path = folder / "scenario.yaml"
    path.write_text(text)
    return path


def changed(old: str, new: str) -> str:
    """The small scenario with its only occurrence of ``old`` replaced."""
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def line_of(text: str, fragment: str) -> int:
    """The line (from 1) on which ``fragment`` first stands."""
    return text[: text.index(fragment)].count("\n") + 1
