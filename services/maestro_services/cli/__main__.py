"""``python -m maestro_services.cli`` is the ``maestro`` command, for children that must run in the same environment."""

from maestro_services.cli.main import app

app(prog_name="maestro")
