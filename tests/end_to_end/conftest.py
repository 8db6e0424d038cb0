"""Lets the tests of this folder import its builders; skips them, with the reason, where there is no real engine."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def real_engines() -> None:
    """Skips the whole folder without an interpreter that has vLLM, or without the model."""
    python = Path(os.environ.get("MAESTRO_ENGINE_PYTHON", ROOT / ".venv-vllm/bin/python"))
    model = Path(os.environ.get("MAESTRO_TEST_MODEL", ROOT / ".models/smollm2-135m-instruct"))
    for what, path in (("an interpreter with vLLM", python), ("the test model", model / "config.json")):
        if not path.exists():
            pytest.skip(f"{what} is not at {path}; `make setup` puts it there")
