"""The predictor that a scheduler begins with: the scenario's choice, with what earlier schedulers had learnt."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

from maestro.errors import InvalidInputError
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.lesson_log import PAGES, WHOLE_FACT, LessonLog, page_fact
from maestro_services.scheduler.core.trained_lengths import TrainedLengths
from maestro_solver.predictor import LengthPredictor, PredictorConfig
from maestro_solver.predictor.artefact import DEFAULT_FOLDER
from maestro_solver.predictor.lessons import decoded_lesson
from maestro_solver.predictor.stage_predictor import StagePredictor

Read = Callable[[str], bytes | None]
"""Gives what is kept under a name, None where nothing is."""

Kept = Mapping[str, Any]

log = logging.getLogger(__name__)


def recovered_lengths(
    read: Read, config: PredictorConfig, *, trained: bool, artefact: Path | None = None
) -> tuple[RoleLengths, LessonLog]:
    """The predictor with all that is kept of what was learnt, and the log that goes on from there.

    ``trained``: with the network in ``artefact`` (None: the one that ships), or role statistics where that cannot be
    used. What was kept and cannot be read, or was learnt beside another network, is left behind with a word in the log.
    """
    whole, pages = _kept(read(WHOLE_FACT)), sorted(_pages(read), key=itemgetter("serial"))
    lengths = _chosen(whole.get("state"), config, artefact) if trained else _role_lengths(whole.get("state"), config)
    whole_serial: int = whole.get("serial", 0)
    for page in pages:
        if page["serial"] >= whole_serial:
            known = whole.get("lessons") if page["serial"] == whole_serial else 0
            _learn(lengths, page, known if isinstance(known, int) else 0)
    serial = max([whole_serial, *(page["serial"] + 1 for page in pages)])
    return lengths, LessonLog(lengths.identity, serial, whole_serial)


def _chosen(state: object, config: PredictorConfig, artefact: Path | None) -> RoleLengths:
    """The trained predictor with its state, or role statistics where there is no usable network."""
    predictor = StagePredictor.load(artefact or DEFAULT_FOLDER, config)
    if predictor.fallback_reason:
        log.warning("role statistics forecast output lengths, since %s", predictor.fallback_reason)
        return _role_lengths(state, config, predictor.fallback_reason)
    if state is not None:
        try:
            predictor.restore(state, config)
        except InvalidInputError as error:
            log.warning("the predictor starts as it was trained, since its saved state cannot be used: %s", error)
    return TrainedLengths(predictor)


def _role_lengths(state: object, config: PredictorConfig, fallback_reason: str = "") -> RoleLengths:
    if state is not None:
        try:
            return RoleLengths(LengthPredictor.from_state(state, config), fallback_reason=fallback_reason)
        except InvalidInputError as error:
            log.warning("role statistics start anew, since their saved state cannot be used: %s", error)
    return RoleLengths(LengthPredictor(config), fallback_reason=fallback_reason)


def _pages(read: Read) -> Iterator[Kept]:
    for slot in range(PAGES):
        page = _kept(read(page_fact(slot)))
        if page:
            yield page


def _kept(value: bytes | None) -> Kept:
    """What was kept, empty where that is nothing, or cannot be read."""
    if value is None:
        return {}
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        log.warning("some of what the predictor had learnt cannot be read: %s", error)
        return {}
    usable = isinstance(found, dict) and isinstance(found.get("serial"), int)
    return found if usable else {}


def _learn(lengths: RoleLengths, page: Kept, skipped: int) -> None:
    """Learns the lessons of a page again, but for the first; beside another network only their lengths count."""
    is_same = page.get("identity") == lengths.identity
    lessons = page.get("lessons")
    for value in lessons[skipped:] if isinstance(lessons, list) else ():
        try:
            lesson = decoded_lesson(value)
            lengths.learn(lesson if is_same else replace(lesson, foresight=None))
        except InvalidInputError as error:
            log.warning("something that the predictor had learnt is left out: %s", error)
