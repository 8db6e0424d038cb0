"""Tests that what keeps a scheduler from starting is named as the scenario names it, with what to do about it."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from service_world import settings

from maestro.errors import InvalidInputError
from maestro_services.scheduler.serve import serve


def _text_file(path: Path) -> None:
    path.write_text("not a database, and long enough to be taken for one" * 100)


def _foreign_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table workflows (title text)")


def _newer_store(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table alembic_version (version_num varchar(32))")
        connection.execute("insert into alembic_version values ('from-the-future')")


def _file_for_a_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("obstruct", [_text_file, _foreign_database, _newer_store, _file_for_a_folder, Path.mkdir])
async def test_a_store_that_cannot_be_used_is_the_scenarios_fault(
    obstruct: Callable[[Path], None], tmp_path: Path
) -> None:
    """Tests key, value and remedy for whatever may stand in the store's place."""
    (tmp_path / "state").mkdir()
    store = tmp_path / "state" / "store.sqlite"
    obstruct(store)
    with pytest.raises(InvalidInputError) as caught:
        await serve(replace(settings(tmp_path), store=store), asyncio.Event())
    assert caught.value.field == "scheduler.store"
    assert caught.value.value == str(store)
    assert "writ" in caught.value.remedy
    assert "sqlalche.me" not in str(caught.value)


async def test_an_address_in_use_is_named_and_the_store_let_go(tmp_path: Path) -> None:
    """Tests that the address is refused before anything is begun, so that a scheduler elsewhere can have the store."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidInputError) as caught:
            await serve(settings(tmp_path, address), asyncio.Event())
    assert (caught.value.field, caught.value.value) == ("scheduler.listen", address)
    assert caught.value.remedy
    stop = asyncio.Event()
    stop.set()
    await serve(settings(tmp_path), stop)
