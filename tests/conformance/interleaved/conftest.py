"""Two verbs at once, in a fixed order: the first is done and stays open, the second begins, the first commits.

Where an engine has many writers, this is how a missing lock shows: the second works with rows as they were before the
first. On SQLite the second waits for the write lock, and each test says how it must end all the same. The engines are
those of stores.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from liteq.storage.driver import Bell, Driver, Params, Promise, Row, Transaction
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ... import lasting
from ...faults.hints import WITHOUT, take_away
from ..conftest import FakeWorker
from ..stores import ENGINES, Store, store_of

A = TypeVar("A")
B = TypeVar("B")
# Where nobody tells whether the second waits, it has so long to pass by; a slower one only weakens its test. On SQLite
# none passes by.
PATIENCE_S, PATIENCE_OF_ONE_WRITER_S = 0.3, 0.05
WITHIN_S = 60.0


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

    def __init__(self, driver: Driver, store: Store) -> None:
        self._driver, self._store = driver, store
        self.waited = False

    @property
    def passed_by(self) -> bool:
        """Whether the second did not wait for the first; True where it had no choice: there is one writer."""
        return not self.waited or not self._store.many_writers

    def _waits(self, passing: Future[Any]) -> bool:
        """Whether the second waits for the first; False once it is over."""
        server = self._store.server
        if server is None:
            patience_s = PATIENCE_S if self._store.many_writers else PATIENCE_OF_ONE_WRITER_S
            return bool(wait([passing], patience_s).not_done)
        end = monotonic() + WITHIN_S
        while wait([passing], 0.002).not_done:
            if lasting.somebody_waits(server):
                return True
            assert monotonic() < end, "the second verb neither ends nor waits"
        return False

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
                self.waited = self._waits(passing)
                meanwhile()
            finally:
                door.opened.set()
            return doing.result(WITHIN_S), passing.result(WITHIN_S)


@pytest.fixture(autouse=True)
def _without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the hint of a lock away, where this run is to show that it is missed."""
    if name := os.environ.get(WITHOUT):
        take_away(name, monkeypatch)


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return store_of(request, tmp_path)


@pytest.fixture
def storage(store: Store, clock: FakeClock) -> Iterator[Storage]:
    """For what is there before, and for the look behind."""
    with closing(store.open("", clock)) as storage:
        yield storage


@pytest.fixture
def one(store: Store, clock: FakeClock) -> Iterator[Storage]:
    """The storage of the first verb."""
    with closing(store.open("one", clock)) as storage:
        yield storage


@pytest.fixture
def two(store: Store, clock: FakeClock) -> Iterator[Storage]:
    """The storage of the second verb."""
    with closing(store.open("two", clock)) as storage:
        yield storage


@pytest.fixture
def meet(one: Storage, store: Store) -> Meet:
    return Meet(one.driver, store)


@pytest.fixture
def first(one: Storage) -> FakeWorker:
    """A worker whose verbs are first verbs."""
    return FakeWorker(one, "one")


@pytest.fixture
def second(two: Storage) -> FakeWorker:
    """A worker whose verbs are second verbs."""
    return FakeWorker(two, "two")
