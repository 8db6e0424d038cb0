"""Claims about the generated code in maestro/v1."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_stubs_are_what_the_proto_files_generate(repository: Path, tmp_path: Path) -> None:
    """Tests that nobody changed proto/ without `make proto`."""
    outputs = ("python", "mypy", "grpc_python", "mypy_grpc")
    protos = sorted(path.relative_to(repository) for path in (repository / "proto" / "maestro" / "v1").glob("*.proto"))
    generators = Path(sys.executable).parent
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-Iproto"),
            *(f"--{output}_out={tmp_path}" for output in outputs),
            *map(str, protos),
        ],
        cwd=repository,
        env={**os.environ, "PATH": f"{generators}{os.pathsep}{os.environ.get('PATH', '')}"},
        check=True,
        capture_output=True,
    )
    generated = {path.name: path.read_bytes() for path in (tmp_path / "maestro" / "v1").iterdir()}
    committed = {path.name: path.read_bytes() for path in (repository / "maestro" / "v1").glob("*_pb2*")}
    assert len(generated) == len(outputs) * len(protos)
    assert committed == generated
