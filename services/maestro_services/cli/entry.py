"""What the ``maestro`` script runs: the command line, or one line on what to install where its libraries are not."""

from __future__ import annotations

import sys

from maestro_services.cli.exit_codes import ExitCode

OWN_PACKAGES = frozenset({"maestro", "maestro_solver", "maestro_services", "maestro_node"})
COMMAND_LINE = frozenset({"typer", "click", "rich"})


def main() -> None:
    """Run the command; ends the process with 1, and says what to install, where it needs a library that is absent."""
    try:
        from maestro_services.cli.main import app

        app()
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if not library or library in OWN_PACKAGES:
            raise
        sys.stderr.write(advice(library) + "\n")
        raise SystemExit(ExitCode.FAILED) from error


def advice(library: str) -> str:
    """Say which extra brings a library that is absent."""
    if library in COMMAND_LINE:
        return f"maestro: the command line needs {library}, which is not installed: pip install 'maestro-llm[cli]'"
    return (
        f"maestro: this command needs {library}, which is not installed: pip install 'maestro-llm[EXTRA]' with the "
        "EXTRA node, scheduler, predictor or models, whichever this machine is for, or all"
    )
