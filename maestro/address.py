"""Addresses of services: where a scheduler is looked for when nobody says otherwise, and what can be one at all."""

from __future__ import annotations

import re

from maestro.errors import InvalidInputError

DEFAULT_SCHEDULER_ADDRESS = "127.0.0.1:50050"
"""host:port: this machine alone, since whoever can reach a scheduler can use it."""

ADDRESS_PATTERN = r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._{}-]+):[0-9]{1,5}$"
LARGEST_PORT = 65_535

_ADDRESS = re.compile(ADDRESS_PATTERN)


def check_address(field: str, address: str) -> str:
    """Return ``address`` where it is host:port with a port from 1 to 65535, an IPv6 host in brackets.

    Raises InvalidInputError with ``field`` for anything else: gRPC would quietly take the port modulo 65536.
    """
    if not _ADDRESS.fullmatch(address):
        remedy = "write it as 127.0.0.1:50050, name.example:50050 or [::1]:50050"
        raise InvalidInputError(field, "is not host:port", value=address, remedy=remedy)
    if not 1 <= int(address.rpartition(":")[2]) <= LARGEST_PORT:
        raise InvalidInputError(
            field, "has a port that does not exist", value=address, remedy=f"choose one from 1 to {LARGEST_PORT}"
        )
    return address
