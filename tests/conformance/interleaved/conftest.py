"""Two verbs at once, in a fixed order: the first is done and stays open, the second begins, the first commits.

Where an engine has many writers, this is how a missing lock shows: the second works with rows as they were before the
first. On SQLite the second waits for the write lock, and each test says how it must end all the same. The engine is
that of `LITEQ_TEST_URL` (stores.py); SQLite without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from liteq.storage.driver import Bell, Driver, Params, Promise, Row, Transaction
from liteq.storage.storage import Storage, open_storage
from liteq.testing import FakeClock

from ..conftest import FakeWorker
from ..stores import MANY_WRITERS, url_in

A = TypeVar("A")
B = TypeVar("B")
# The second has so long to pass by; one that is slower than that only weakens its test. On SQLite none passes by.
PATIENCE_S = 0.3 if MANY_WRITERS else 0.05
WITHIN_S = 30.0


class Door:
    """Where the first transaction of a driver stops: before its commit, or before the first run of a statement."""

    def __init__(self, driver: Driver, before: str | None) -> None:
        self.reached, self.opened = Event(), Event()
        self._write, self._before = driver.write, before

    @contextmanager
    def write(self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> Iterator[Any]:
        with self._write(promise, bell) as tx:
            yield tx if self._before is None or self.reached.is_set() else Stopping(tx, self._before, self.stop)
            if self._before is None:
                self.stop()

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        with self.write(promise, bell) as tx:
            changed: int = tx.executemany(sql, [params])
        return changed

    def stop(self) -> None:
        """Wait here until the door is opened; once."""
        if not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(WITHIN_S), "the second verb has kept the first one waiting"


class Stopping:
    """A transaction that stops before a statement."""

    def __init__(self, tx: Transaction, before: str, stop: Callable[[], None]) -> None:
        self._tx, self._before, self._stop = tx, before, stop

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        if sql == self._before:
            self._stop()
        return self._tx.execute(sql, params)

    def executemany(self, sql: str, rows: Any) -> int:
        if sql == self._before:
            self._stop()
        return self._tx.executemany(sql, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class Meet:
    """Called with two verbs, of `one` and of `two`: what both return, when both are over."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.waited = False

    @property
    def passed_by(self) -> bool:
        """Whether the second did not wait for the first; True where it had no choice: there is one writer."""
        return not self.waited or not MANY_WRITERS

    def __call__(
        self, first: Callable[[], A], second: Callable[[], B], *, before: str | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> tuple[A, B]:  # fmt: skip
        """`before`: the statement at which the first stops, if not at its commit. `meanwhile`: while it stands there,
        and the second has passed by or waits.
        """
        door = Door(self._driver, before)
        with patch.multiple(self._driver, write=door.write, change=door.change), ThreadPoolExecutor(2) as pool:
            try:
                doing = pool.submit(first)
                doing.add_done_callback(lambda _: door.reached.set())  # where it raises before
                assert door.reached.wait(WITHIN_S)
                passing = pool.submit(second)
                self.waited = bool(wait([passing], PATIENCE_S).not_done)
                meanwhile()
            finally:
                door.opened.set()
            return doing.result(WITHIN_S), passing.result(WITHIN_S)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return url_in(tmp_path)


def opened(url: str, clock: FakeClock) -> Iterator[Storage]:
    storage = open_storage(url, clock=clock)
    yield storage
    storage.close()


@pytest.fixture
def storage(url: str, clock: FakeClock) -> Iterator[Storage]:
    """For what is there before, and for the look behind."""
    for storage in opened(url, clock):
        storage.migrate()
        yield storage


@pytest.fixture
def one(url: str, clock: FakeClock, storage: Storage) -> Iterator[Storage]:
    """The storage of the first verb."""
    assert storage
    yield from opened(url, clock)


@pytest.fixture
def two(url: str, clock: FakeClock, storage: Storage) -> Iterator[Storage]:
    """The storage of the second verb."""
    assert storage
    yield from opened(url, clock)


@pytest.fixture
def meet(one: Storage) -> Meet:
    return Meet(one.driver)


@pytest.fixture
def first(one: Storage) -> FakeWorker:
    """A worker whose verbs are first verbs."""
    return FakeWorker(one, "one")


@pytest.fixture
def second(two: Storage) -> FakeWorker:
    """A worker whose verbs are second verbs."""
    return FakeWorker(two, "two")
