"""Equal events give equal commands, also in another process, where sets are in another order."""

from __future__ import annotations

import os
import subprocess
import sys

HASH_SEEDS = 3
COMMANDS_OF_A_PLAN_OF_TWO_LOADS = """
from core_driver import Driver
from lossy_world import core_config
from service_world import call
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.core.outcome import LoadReplica
driver = Driver(config=core_config())
driver.bring_up("left-node")
for model in ("writer", "critic"):
    driver.submit(WorkflowSpec("essays", (call("only", models=(model,)),)), model)
driver.plan()
loads = driver.take(LoadReplica)
assert loads
print(loads)
"""


def said(script: str, hash_seed: int) -> str:
    """What a script prints in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_same_events_give_the_same_commands_in_every_process() -> None:
    """Tests invariant: replay equals run."""
    answers = {said(COMMANDS_OF_A_PLAN_OF_TWO_LOADS, seed) for seed in range(HASH_SEEDS)}
    assert len(answers) == 1, answers
