"""Where a scheduler listens, and where clients look for one, when nobody says otherwise."""

DEFAULT_SCHEDULER_ADDRESS = "127.0.0.1:50050"
"""host:port: this machine alone, since whoever can reach a scheduler can use it."""
