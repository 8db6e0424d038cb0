"""Tests that what the predictor learns outlives the scheduler: pages, whole states, kill -9, and what is damaged."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from predictor_store import KILLED, learn, open_store, run_until_killed

from maestro.costs import LengthFeatures, LengthObservation, LengthOutcome
from maestro.errors import InvalidInputError
from maestro_services.scheduler.core.lengths import RoleLengths
from maestro_services.scheduler.core.lesson_log import PAGE_LESSONS, PAGES, WHOLE_FACT, page_fact
from maestro_services.scheduler.predictor_memory import recovered_lengths
from maestro_solver.predictor import LengthPredictor, PredictorConfig
from maestro_solver.predictor.lessons import Foresight, Lesson, decoded_lesson

CONFIG = PredictorConfig()


def lesson(tokens: int, foresight: Foresight | None = None) -> Lesson:
    features = LengthFeatures("essays", f"role {tokens % 7}", "", "writer", 20, 1 << 20)
    outcome = LengthOutcome.CENSORED if tokens % 5 == 0 else LengthOutcome.COMPLETE
    return Lesson(LengthObservation(features, tokens, outcome), foresight)


def test_schedulers_that_come_and_go_learn_what_one_would_have_learnt() -> None:
    """Tests several rounds of pages, with restarts at any moment after a save, and pages saved half full."""
    generator = random.Random(7)
    kept: dict[str, bytes] = {}
    never_restarted = RoleLengths(LengthPredictor(CONFIG))
    lengths, log = recovered_lengths(kept.get, CONFIG, trained=False)
    for number in range(3 * PAGES * PAGE_LESSONS // 2):
        one = lesson(number % 400)
        never_restarted.learn(one)
        lengths.learn(one)
        log.add(one)
        if log.is_due(any_will_do=generator.random() < 0.01):
            kept |= {save.name: orjson.dumps(save.value) for save in log.saves(lengths.state)}
            if generator.random() < 0.02:
                lengths, log = recovered_lengths(kept.get, CONFIG, trained=False)
    kept |= {save.name: orjson.dumps(save.value) for save in log.saves(lengths.state)}
    recovered, _ = recovered_lengths(kept.get, CONFIG, trained=False)
    assert recovered.state() == never_restarted.state()
    assert WHOLE_FACT in kept
    assert len(kept) <= PAGES + 1


def test_a_lesson_costs_a_page_and_no_whole_state() -> None:
    lengths, log = recovered_lengths({}.get, CONFIG, trained=True)
    one = lesson(50, Foresight(0.5, 0.01, 0.02))
    lengths.learn(one)
    log.add(one)
    assert not log.is_due(any_will_do=False)
    (save,) = log.saves(lengths.state)
    assert save.name == page_fact(0)
    assert len(orjson.dumps(save.value)) < 500
    assert not log.is_due(any_will_do=True)


def test_the_trained_predictor_goes_on_where_it_was() -> None:
    kept: dict[str, bytes] = {}
    lengths, log = recovered_lengths(kept.get, CONFIG, trained=True)
    for number in range(PAGE_LESSONS + 5):
        one = lesson(number + 1, Foresight(number / 40, 0.01, 0.02))
        lengths.learn(one)
        log.add(one)
    kept |= {save.name: orjson.dumps(save.value) for save in log.saves(lengths.state)}
    recovered, _ = recovered_lengths(kept.get, CONFIG, trained=True)
    assert recovered.state() == lengths.state()


def test_what_was_learnt_beside_another_network_counts_as_lengths_alone() -> None:
    one = lesson(50, Foresight(0.5, 0.01, 0.02))
    page = {"serial": 3, "identity": "another network", "lessons": [one.encoded()]}
    recovered, _ = recovered_lengths({page_fact(3): orjson.dumps(page)}.get, CONFIG, trained=True)
    expected, _ = recovered_lengths({}.get, CONFIG, trained=True)
    expected.learn(replace(one, foresight=None))
    assert recovered.state() == expected.state()


@pytest.mark.parametrize(
    "damaged",
    [b"", b"{", b"[]", b'{"serial": "x"}', b'{"serial": 1, "lessons": [["too", "short"]]}', b'{"serial": 1}'],
)
@pytest.mark.parametrize("trained", [True, False])
def test_damaged_pages_and_states_are_left_behind(damaged: bytes, trained: bool) -> None:
    fresh, _ = recovered_lengths({}.get, CONFIG, trained=trained)
    recovered, log = recovered_lengths({WHOLE_FACT: damaged, page_fact(1): damaged}.get, CONFIG, trained=trained)
    assert recovered.state() == fresh.state()
    log.add(lesson(3))
    assert log.saves(recovered.state)


@pytest.mark.parametrize("change", [("tokens", -1), ("outcome", "lost"), ("score", 1.5), ("score", float("nan"))])
def test_a_damaged_lesson_is_refused(change: tuple[str, object]) -> None:
    places = {"tokens": 5, "outcome": 6, "score": 7}
    value = lesson(9, Foresight(0.5, 0.01, 0.02)).encoded()
    assert decoded_lesson(value).observation.output_tokens == 9
    value[places[change[0]]] = change[1]
    with pytest.raises(InvalidInputError, match="lesson"):
        decoded_lesson(value)


def test_lessons_survive_kill_9_of_the_scheduler(tmp_path: Path) -> None:
    """Tests the real store: a process learns, keeps, and is killed; the next one knows it."""
    assert run_until_killed(tmp_path) == KILLED
    store = open_store(tmp_path)
    recovered, _ = recovered_lengths(store.fact, CONFIG, trained=True)
    store.close()
    expected, log = recovered_lengths({}.get, CONFIG, trained=True)
    learn(expected, log)
    assert recovered.state() == expected.state()
