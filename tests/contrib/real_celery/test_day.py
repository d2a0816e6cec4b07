"""A day, compressed: sends, questions, kills and restarts leave nothing behind, and no ETA in a worker's memory."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liteq.states import State

from ...faults.sizes import size
from .shop import NEEDS_CELERY, Shop

pytestmark = [pytest.mark.timeout(3600), *NEEDS_CELERY]  # the first of two counts

RESTARTS = size("CELERY_DAY_RESTARTS", 1, 200)
A_CONNECTION = 4  # descriptors: the file, its log, the log's index, a bell


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, visibility_timeout=2)
    yield shop
    shop.close()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def listeners(shop: Shop) -> int:
    with closing(sqlite3.connect(shop.path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM liteq_listeners").fetchone()[0]
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
def test_a_day_of_restarts_leaves_no_descriptor_row_or_listener(shop: Shop) -> None:
    lasting = shop.start(children=1)
    shop.wait(lambda: " ready." in shop.log())
    rows: list[str] = []

    def turn(n: int) -> None:
        other = shop.start(children=1)
        shop.wait(lambda: " ready." in shop.log(len(shop.workers) - 1))
        # Late acks for both kinds: a task that was acknowledged early is lost with its worker.
        sent = [shop.send("late", n, n) for n in range(10)] + [shop.send("quiet_late", str(shop.folder / "quiet"))]
        rows.extend(one.id for one in sent[:-1])
        assert len(shop.app.control.ping(limit=2, timeout=60)) == 2
        shop.kill(other) if n % 2 else other.terminate()
        other.wait(timeout=60)
        assert [one.get(timeout=60) for one in sent[:-1]] == [2 * n for n in range(10)]
        shop.wait(lambda: len(shop.liteq.storage.reader.workers()) == 1)

    turn(0)
    shop.wait(lambda: shop.liteq.storage.reader.waiting(["celery"], limit=9) == 0)
    before, heard = (descriptors(lasting.pid), descriptors(os.getpid())), listeners(shop)
    for n in range(1, RESTARTS + 1):
        turn(n)
    # A pool of connections may have grown by one; what a restart leaves each time is more than that at night.
    for pid, most in zip((lasting.pid, os.getpid()), before, strict=True):
        shop.wait(lambda pid=pid, most=most: descriptors(pid) <= most + A_CONNECTION)
    killed = (RESTARTS + 1) // 2
    # Those of a killed worker are forgotten a minute later: they are its queue for control, once.
    assert listeners(shop) - heard <= 2 * killed
    shop.wait(lambda: len(shop.lines("quiet")) >= RESTARTS + 1)
    assert {one.state for one in shop.liteq.storage.reader.find_many(rows).values()} == {State.SUCCEEDED}
    shop.wait(lambda: [(count.state, count.n) for count in shop.liteq.storage.reader.counts()] == [
        (State.SUCCEEDED, len(rows))
    ])  # fmt: skip


def test_no_eta_is_in_a_worker_s_memory(shop: Shop) -> None:
    shop.start(children=1)
    sent = [shop.send("late", n, n, countdown=600) for n in range(200)]
    assert shop.send("late", 1, 1).get(timeout=60) == 2  # it has looked since
    inspect = shop.app.control.inspect(timeout=60, limit=1)
    assert [list(one.values()) for one in (inspect.scheduled(), inspect.reserved())] == [[[]], [[]]]
    found = shop.liteq.storage.reader.find_many([one.id for one in sent])
    assert {one.state for one in found.values()} == {State.SCHEDULED}
    assert len(found) == 200
