"""`idle_vacuum`: free pages go back to the disk, in slices, and only while nobody writes."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.storage import open_driver
from liteq.storage.sqlite.keeping.vacuum import FEWEST, MOST, SLICE_S, Vacuum
from liteq.worker.chores import idle_vacuum
from liteq.worker.chores.by_settings import by_settings
from liteq.worker.chores.idle_vacuum import KEEP, WORTH, IdleVacuum
from liteq.worker.pool.executor import Executor
from liteq.worker.pool.solo import SoloPool


class Driver:
    """A file with so many free bytes; each slice gives 1 MiB back."""

    def __init__(self, free: int) -> None:
        self.free, self.commits, self.slices, self.folds = free, 0, 0, 0

    def free_bytes(self) -> int:
        return self.free

    def version(self) -> int:
        return self.commits

    def vacuum(self) -> int:
        self.slices += 1
        self.commits += 1
        self.free -= 1024 * 1024
        return self.free

    def fold_log(self) -> None:
        self.folds += 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def turns(chore: IdleVacuum, clock: Clock, *, for_s: float) -> None:
    end = clock.now + for_s
    while chore.due_at <= end:
        clock.now = chore.due_at
        chore.turn()
    clock.now = end


def test_what_is_free_goes_back_but_for_a_little(clock):
    driver = Driver(WORTH + 1)
    turns(IdleVacuum(driver, monotonic=clock), clock, for_s=5)
    assert 0 <= driver.free <= KEEP
    assert driver.folds == 1


def test_a_little_is_kept_for_what_comes(clock):
    driver = Driver(WORTH)
    turns(IdleVacuum(driver, monotonic=clock), clock, for_s=600)
    assert (driver.slices, driver.folds) == (0, 0)


def test_nothing_is_done_while_others_write(clock):
    driver = Driver(10 * WORTH)
    chore = IdleVacuum(driver, monotonic=clock)
    for _ in range(200):
        driver.commits += 1
        turns(chore, clock, for_s=idle_vacuum.QUIET_S / 2)
    assert driver.slices == 0
    turns(chore, clock, for_s=2)
    assert driver.slices > 10


def test_a_write_between_two_slices_stops_it(clock):
    driver = Driver(10 * WORTH)
    chore = IdleVacuum(driver, monotonic=clock)
    while not driver.slices:
        turns(chore, clock, for_s=idle_vacuum.PAUSE_S)
    before = driver.slices
    driver.commits += 1
    turns(chore, clock, for_s=idle_vacuum.BUSY_S)
    assert driver.slices == before


def test_one_worker_of_several_is_at_work_at_a_time(clock):
    driver = Driver(20 * WORTH)
    one, two = IdleVacuum(driver, monotonic=clock), IdleVacuum(driver, monotonic=clock)
    done = {one: 0, two: 0}
    for _ in range(200):
        for chore in (one, two):
            before = driver.slices
            clock.now = max(clock.now, min(one.due_at, two.due_at))
            if chore.due_at <= clock.now:
                chore.turn()
            done[chore] += driver.slices - before
    assert min(done.values()) <= 2 < max(done.values())


def test_a_slice_is_as_large_as_its_time_allows():
    vacuum = Vacuum()
    vacuum.learn(SLICE_S / 10)
    assert vacuum.pages == 64  # never more than twice as many
    vacuum.learn(SLICE_S * 4)
    assert vacuum.pages == 16
    vacuum.learn(inf)
    assert vacuum.pages == FEWEST
    for _ in range(20):
        vacuum.learn(0.0)
    assert vacuum.pages == MOST


def test_it_is_done_where_the_setting_says_so(tmp_path):
    def chores(**settings: object) -> list[object]:
        app = LiteQ("app", broker=f"sqlite:///{tmp_path}/queue.db", **settings)
        pool = SoloPool(Executor(app, hostname="w"))
        return [one for one in by_settings(app, app.storage, lambda: None, pool) if isinstance(one, IdleVacuum)]

    assert chores() == []
    assert len(chores(idle_vacuum=True)) == 1


def test_a_file_shrinks_in_slices_and_stays_whole(tmp_path: Path):
    app = LiteQ("app", broker=f"sqlite:///{tmp_path}/queue.db")
    app.enqueue_many([app.signature("t", args=("x" * 4_000,)) for _ in range(3_000)])
    driver = app.storage.driver
    driver.fold_log()
    before = (tmp_path / "queue.db").stat().st_size
    app.storage.purge()
    clock = Clock()
    turns(IdleVacuum(driver, monotonic=clock), clock, for_s=20)
    after = (tmp_path / "queue.db").stat().st_size
    assert after < before / 3
    assert driver.free_bytes() <= KEEP
    app.close()
    assert open_driver(app.broker_url).describe()["integrity"] == "ok"
