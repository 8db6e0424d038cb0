"""The store: durable in order, one owner, and what it hands back after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from core_driver import Driver
from service_world import PATIENCE_S, diamond

from maestro.codec import workflow_to_proto
from maestro.errors import ConflictError
from maestro.status import WorkflowState
from maestro_services.scheduler.core import events as on
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.store.writer import Write


class AtOnce:
    """Commits every write by itself; what a flush of the disk leads to happens on the thread of the flush."""

    def call_later(self, _delay_s: float, callback: Callable[[], None]) -> None:
        callback()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()


def nothing() -> None:
    """Does not follow what is only written."""


def open_store(folder: Path) -> Store:
    """A store whose failures fail the test."""

    def failed(error: BaseException) -> None:
        raise AssertionError from error

    return Store(folder / "store.sqlite", synchronous="full", failed=failed, turns=AtOnce())


def write(store: Store, driver: Driver) -> None:
    """Writes all the driver's transitions and waits until they are durable."""
    done = threading.Event()
    store.write(Write(driver.transitions, [("note", b"kept")], lambda _: done.set(), nothing))
    assert done.wait(PATIENCE_S)
    driver.transitions.clear()


def submitted(driver: Driver, workflow_id: str, **changes: object) -> None:
    """Submits a workflow with its wire form."""
    spec = diamond(**changes)
    payload = workflow_to_proto(spec).SerializeToString()
    driver.post(on.WorkflowSubmitted(workflow_id, spec, payload, "hash"))


def test_an_active_workflow_comes_back_with_its_stages(tmp_path: Path) -> None:
    driver, store = Driver(), open_store(tmp_path)
    driver.bring_up()
    submitted(driver, "w1")
    driver.plan()
    driver.finish_loads()
    (attempt,) = driver.attempts()
    driver.finish(attempt, output="the first text")
    write(store, driver)
    store.close()
    again = open_store(tmp_path)
    (stored,) = again.active()
    assert stored.status.id == "w1"
    assert stored.stages["first"].output == "the first text"
    assert again.fact("note") == b"kept"
    again.close()


def test_epochs_grow_and_sequences_go_on(tmp_path: Path) -> None:
    driver, store = Driver(), open_store(tmp_path)
    submitted(driver, "w1")
    write(store, driver)
    first = store.begin_epoch()
    store.close()
    again = open_store(tmp_path)
    assert again.begin_epoch() == first + 1
    assert again.last_sequence() == 1
    again.close()


def test_a_store_has_one_owner(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(ConflictError, match="in use by another scheduler"):
        open_store(tmp_path)
    store.close()


def test_pages_go_from_the_newest_to_the_oldest_without_gaps(tmp_path: Path) -> None:
    driver, store = Driver(), open_store(tmp_path)
    for number in range(5):
        submitted(driver, f"w{number}", tenant="a" if number % 2 else "b")
    write(store, driver)
    first = store.page(size=3, before=None, tenant="", state=None)
    second = store.page(size=3, before=first[-1][0], tenant="", state=None)
    assert [status.id for _, status in first + second] == ["w4", "w3", "w2", "w1", "w0"]
    assert [status.id for _, status in store.page(size=9, before=None, tenant="a", state=None)] == ["w3", "w1"]
    store.close()


def test_ended_workflows_are_found_by_their_state(tmp_path: Path) -> None:
    driver, store = Driver(), open_store(tmp_path)
    submitted(driver, "w1")
    submitted(driver, "w2")
    driver.post(on.CancelRequested("w1"))
    write(store, driver)
    found = store.page(size=9, before=None, tenant="", state=WorkflowState.CANCELLED)
    assert [status.id for _, status in found] == ["w1"]
    assert [stored.status.id for stored in store.active()] == ["w2"]
    store.close()


def test_a_key_is_found_within_its_tenant_only(tmp_path: Path) -> None:
    driver, store = Driver(), open_store(tmp_path)
    submitted(driver, "w1", tenant="a", idempotency_key="k")
    submitted(driver, "w2", tenant="b", idempotency_key="k")
    write(store, driver)
    assert store.by_key("b", "k") == ("w2", "hash")
    assert store.by_key("c", "k") is None
    store.close()


def test_what_was_durable_survives_kill_9(tmp_path: Path) -> None:
    """Tests invariant: an accepted workflow survives kill -9 the moment after it was accepted."""
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_store import Driver, open_store, submitted, write
driver, store = Driver(), open_store(Path({str(tmp_path)!r}))
submitted(driver, "w1")
write(store, driver)
print("durable", flush=True)
time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "durable"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    store = open_store(tmp_path)
    assert [stored.status.id for stored in store.active()] == ["w1"]
    store.close()


def test_a_commit_that_fails_is_reported_and_nothing_later_counts_as_durable(tmp_path: Path) -> None:
    driver = Driver()
    failures: list[BaseException] = []
    failed = threading.Event()

    def note(error: BaseException) -> None:
        failures.append(error)
        failed.set()

    store = Store(tmp_path / "store.sqlite", synchronous="normal", failed=note, turns=AtOnce())
    submitted(driver, "w1")
    durable: list[str] = []
    store.write(Write(driver.transitions, [], lambda _: durable.append("first"), nothing))
    store.write(Write(driver.transitions, [], lambda _: durable.append("same sequence again"), nothing))
    store.write(Write([], [("later", b"")], lambda _: durable.append("later"), nothing))
    assert failed.wait(PATIENCE_S)
    assert failures
    assert "same sequence again" not in durable
    assert "later" not in durable
    store.close()


class GatedDisk:
    """Stands in for ``os.fdatasync``: each flush waits for the test, or fails."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.error: OSError | None = None

    def flush(self, _descriptor: int) -> None:
        self.began.release()
        assert self.gate.acquire(timeout=PATIENCE_S)
        if self.error is not None:
            raise self.error

    def wait_for_a_flush(self) -> None:
        """Returns once a flush has begun that no earlier call has waited for."""
        assert self.began.acquire(timeout=PATIENCE_S)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> GatedDisk:
    """The disk of every store of the test."""
    gated = GatedDisk()
    monkeypatch.setattr(os, "fdatasync", gated.flush)
    return gated


def noting_store(folder: Path, failures: list[BaseException]) -> Store:
    """A store that is flushed, whose failures are noted."""
    return Store(folder / "store.sqlite", synchronous="full", failed=failures.append, turns=AtOnce())


def put(store: Store, name: str, told: list[str], done: threading.Event | None = None) -> None:
    """Writes a fact; ``told`` hears when it is written and when it is durable."""

    def durable(_events: object) -> None:
        told.append(f"{name} durable")
        if done is not None:
            done.set()

    store.write(Write([], [(name, b"")], durable, lambda: told.append(f"{name} written")))


def test_what_is_written_during_a_flush_is_durable_with_the_next(tmp_path: Path, disk: GatedDisk) -> None:
    """Tests that a flush makes durable only what was written before it began."""
    failures: list[BaseException] = []
    store, told, done = noting_store(tmp_path, failures), [], threading.Event()
    put(store, "first", told)
    disk.wait_for_a_flush()
    put(store, "second", told)
    put(store, "third", told, done)
    assert told == ["first written", "second written", "third written"]
    disk.gate.release()
    disk.wait_for_a_flush()
    assert told[3:] == ["first durable"]
    disk.gate.release()
    assert done.wait(PATIENCE_S)
    assert told[3:] == ["first durable", "second durable", "third durable"]
    store.close()
    assert failures == []


def test_a_flush_that_fails_is_reported_once_and_makes_nothing_durable(tmp_path: Path, disk: GatedDisk) -> None:
    failures: list[BaseException] = []
    store, told = noting_store(tmp_path, failures), []
    disk.error = OSError("the disk is gone")
    put(store, "first", told)
    disk.wait_for_a_flush()
    put(store, "second", told)
    disk.gate.release()
    store.close()
    assert failures == [disk.error]
    assert told == ["first written", "second written"]
    noting_store(tmp_path, failures).close()  # it has let go of the file


def test_closing_flushes_what_is_only_written(tmp_path: Path, disk: GatedDisk) -> None:
    failures: list[BaseException] = []
    store, told = noting_store(tmp_path, failures), []
    put(store, "first", told)
    disk.wait_for_a_flush()
    put(store, "second", told)
    disk.gate.release(2)
    store.close()
    assert disk.began.acquire(blocking=False)
    assert failures == []


@pytest.mark.parametrize("name", ["a?b.sqlite", "a%20b.sqlite", "a b.sqlite"])
def test_any_file_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    failures: list[BaseException] = []
    Store(tmp_path / name, synchronous="full", failed=failures.append, turns=AtOnce()).close()
    assert (tmp_path / name).is_file()


def test_a_link_and_its_target_are_one_store(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "store.sqlite").symlink_to(tmp_path / "store.sqlite")
    store = open_store(tmp_path)
    with pytest.raises(ConflictError):
        noting_store(tmp_path / "link", failures)
    store.close()
    noting_store(tmp_path / "link", failures).close()
