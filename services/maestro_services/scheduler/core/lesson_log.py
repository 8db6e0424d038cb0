"""How what was learnt is kept: lessons in small pages as they come, and now and then the whole state.

Pages go round: when the last one is full, the state as it is by then is saved whole, and the first page is written
over. A page is a few kilobytes, written at most once a second or when it is full; the whole state is some hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from maestro_services.scheduler.core.outcome import SavePredictor
from maestro_solver.predictor.lessons import Lesson

PAGE_LESSONS = 32
PAGES = 64

WHOLE_FACT = "predictor.whole"


def page_fact(serial: int) -> str:
    """The name under which a page is kept."""
    return f"predictor.page.{serial % PAGES}"


class LessonLog:
    """The page that is being written. ``serial`` numbers pages, from 0, without end."""

    def __init__(self, identity: str = "", serial: int = 0, whole_serial: int = 0) -> None:
        """``identity`` names what learns: what one predictor makes of an output is nothing to another.

        ``serial`` is larger than that of any page that is kept; ``whole_serial`` is the one that the kept state has.
        """
        self._identity = identity
        self._serial = serial
        self._whole_serial = whole_serial
        self._page: list[list[object]] = []
        self._full: list[tuple[int, list[list[object]]]] = []
        self._unsaved = False

    def add(self, lesson: Lesson) -> None:
        """Appends a lesson that the predictor has learnt."""
        self._page.append(lesson.encoded())
        self._unsaved = True
        if len(self._page) >= PAGE_LESSONS:
            self._full.append((self._serial, self._page))
            self._serial, self._page = self._serial + 1, []

    def is_due(self, *, any_will_do: bool) -> bool:
        """Whether a page is full, or holds anything new where ``any_will_do``."""
        return bool(self._full) or (self._unsaved and any_will_do)

    def saves(self, state: Callable[[], Mapping[str, object]]) -> list[SavePredictor]:
        """What is to be kept now; ``state`` gives all that was learnt up to the last lesson added.

        A state is kept together with the page that was begun since, so that no lesson is learnt twice.
        """
        pages = [*self._full, (self._serial, self._page)]
        found = [SavePredictor(page_fact(serial), self._kept(serial, page)) for serial, page in pages if page]
        if self._serial - self._whole_serial >= PAGES:
            self._whole_serial = self._serial
            whole = {"serial": self._serial, "lessons": len(self._page), "state": state()}
            found.append(SavePredictor(WHOLE_FACT, whole))
        self._full, self._unsaved = [], False
        return found

    def _kept(self, serial: int, page: list[list[object]]) -> Mapping[str, object]:
        return {"serial": serial, "identity": self._identity, "lessons": list(page)}
