"""The process of a task of Celery's dies at a step of the transaction that settles it: what follows is told once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from liteq.states import UNFINISHED

from ...faults.sizes import size
from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY
STEPS = ("within", "after", "commit", "before")[: size("KILL_STEPS", 2, 4)]
ERRBACKS = ("told_of", "told_all")  # one takes an id; one the request, the error and the traceback


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, visibility_timeout=5, max_deliveries=3)
    shop.modules = ("dying_shop", "liteq_shop")
    yield shop
    shop.close()


class Case:
    """A task that dies as it is settled at `step`, in its canvas; what ran is told in files that bear its name."""

    def __init__(self, shop: Shop, place: str, step: str, *, late: bool) -> None:
        self.name = f"{place}, {step}, {'late' if late else 'early'}"
        self.shop, self.step, self.late = shop, step, late
        self.dying = "dying_late" if late else "dying"
        self.is_written = step == "after"
        self.runs = 1 if self.is_written or not late else 2
        self.is_lost = not (self.is_written or late)

    def ran(self, what: str) -> int:
        return len(self.shop.lines(f"{self.name}, {what}"))

    def _sig(self, name: str, what: str, **kwargs: Any) -> Any:
        return self.shop.sig(name, kwargs={"where": str(self.shop.folder / f"{self.name}, {what}"), **kwargs})

    def _with_errbacks(self, sig: Any, of: str) -> Any:
        for name in ERRBACKS:
            sig.link_error(self._sig(name, f"{of} {name}"))
        return sig

    def _task(self, **kwargs: Any) -> Any:
        return self._with_errbacks(self._sig(self.dying, "task", step=self.step, **kwargs), "task")

    def _next(self) -> Any:
        return self._with_errbacks(self._sig("ran", "next"), "next")

    def send(self, place: str) -> dict[str, int]:
        """Send it; how often each part of it is to run. What is behind a link that broke tells nobody once more."""
        from celery import chain, chord

        app, same, lost, goes_on = self.shop.app, self.shop.sig("same", 1), int(self.is_lost), int(not self.is_lost)
        told = {"task": self.runs, "next": goes_on, "task told_of": lost, "task told_all": lost}
        of_next = {"next told_of": 0, "next told_all": 0}
        match place:
            case "member":
                chord([self._task(), same], self._next(), app=app).delay()
                return told | {"next told_of": lost, "next told_all": lost}
            case "body":
                chain(chord([same], self._task(), app=app), self._next(), app=app).delay()
                return told | of_next
            case "link":
                chain(same, self._task(), self._next(), app=app).delay()
                return told | of_next
            case "fails":
                chain(self._task(fails=True), self._next(), app=app).delay()
                return told | of_next | {"next": 0, "task told_of": 1, "task told_all": 1}
            case _:
                sig = self.shop.sig("boom")
                sig.link_error(self._sig(place, "task", step=self.step))
                sig.delay()
                return {"task": 1 if place == "dying_errback" or self.is_written else 2}


def test_what_follows_a_task_that_dies_as_it_is_settled_is_told_once(shop: Shop) -> None:
    tasks = product(("member", "body", "link", "fails"), STEPS, (True, False))
    # Each is acknowledged in its own way: one is a message, the other is called by liteq's own task.
    errbacks = product(("dying_errback", "dying_told"), STEPS, (False,))
    cases = {Case(shop, place, step, late=late): place for place, step, late in (*tasks, *errbacks)}
    expected = {case: case.send(place) for case, place in cases.items()}
    shop.start(children=4)

    def is_at_rest() -> bool:
        reader = shop.liteq.storage.reader
        return all(case.ran("task") for case in expected) and not any(reader.messages(state) for state in UNFINISHED)

    shop.wait(is_at_rest)
    found = {case.name: {what: case.ran(what) for what in told} for case, told in expected.items()}
    assert found == {case.name: told for case, told in expected.items()}
