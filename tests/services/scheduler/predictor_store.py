"""A process that learns, keeps what it learnt in a real store, and is killed without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import orjson

from maestro.costs import LengthFeatures, LengthObservation, LengthOutcome
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.lesson_log import LessonLog
from maestro_services.scheduler.predictor_memory import recovered_lengths
from maestro_services.scheduler.store import Store
from maestro_services.scheduler.store.writer import Write
from maestro_solver.predictor import PredictorConfig
from maestro_solver.predictor.lessons import Foresight, Lesson

KILLED = -signal.SIGKILL
LESSONS = 50


class AtOnce:
    """An event loop that does everything at once."""

    def call_later(self, _delay_s: float, callback: Callable[[], None]) -> None:
        callback()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        callback()


def open_store(folder: Path) -> Store:
    """A store whose failures fail the test."""

    def failed(error: BaseException) -> None:
        raise AssertionError from error

    return Store(folder / "store.sqlite", synchronous="full", failed=failed, turns=AtOnce())


def learn(lengths: RoleLengths, log: LessonLog) -> None:
    """The lessons of one life of a scheduler."""
    for number in range(LESSONS):
        features = LengthFeatures("essays", f"role {number % 3}", "", "writer", 20, 1 << 20)
        observation = LengthObservation(features, 10 + number, LengthOutcome.COMPLETE)
        lesson = Lesson(observation, Foresight(number / LESSONS, 0.01, 0.02))
        lengths.learn(lesson)
        log.add(lesson)


def live_and_die(folder: Path) -> None:
    """Learns, keeps, and is killed as soon as it is written."""
    store = open_store(folder)
    lengths, log = recovered_lengths(store.fact, PredictorConfig(), trained=True)
    learn(lengths, log)
    written = threading.Event()
    facts = [(save.name, orjson.dumps(save.value)) for save in log.saves(lengths.state)]
    store.write(Write([], facts, lambda _: None, written.set))
    assert written.wait(60)
    os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(folder: Path) -> int:
    """Runs ``live_and_die`` in a process of its own and returns how that ended."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = f"import predictor_store, pathlib; predictor_store.live_and_die(pathlib.Path({str(folder)!r}))"
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode
