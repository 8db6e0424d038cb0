"""The root of the command line: turns errors into one readable line and an exit code."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from maestro.errors import MaestroError
from maestro_services.cli.exit_codes import exit_code
from maestro_services.cli.output import report_error, wants_json


class MaestroGroup(TyperGroup):
    """All commands. A command raises Maestro's errors and leaves reporting them to this class."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; ends the process with the error's exit code where it fails."""
        try:
            return super().invoke(ctx)
        except MaestroError as error:
            report_error(error, as_json=wants_json(ctx.meta))
            raise typer.Exit(exit_code(error)) from error
