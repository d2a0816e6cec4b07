"""A child of the asyncio pool and what its parent asks of it, at moments that no worker can be made to meet."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import SoftTimeLimitExceeded
from liteq.message import Release
from liteq.worker.pool.aio.child import INTERRUPT, STOP, AsyncChild
from liteq.worker.pool.aio.running import current
from liteq.worker.pool.page import Page
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.channel import Channel
from liteq.worker.pool.prefork.child import ChildSettings


class Bench:
    """A child in this process: it reads all that it is told before the lease takes its first step."""

    def __init__(self, folder: Path) -> None:
        self.app = app = LiteQ("child", broker=f"sqlite:///{folder}/queue.db", set_as_current=False)
        self.ran: list[str] = []

        @app.task(name="wait")
        async def wait() -> str:
            self.ran.append("begun")
            try:
                await asyncio.sleep(0)
            except SoftTimeLimitExceeded:
                self.ran.append("soft limit")
            return "done"

        @app.task(name="tell", bind=True)
        async def tell(self_: Any) -> None:
            self_.emit("words", "begun")  # which is written when the body is over

        @app.task(name="late", bind=True)
        async def late(self_: Any) -> None:
            self_.emit("words", "begun")  # which is written when the body is over: then it is interrupted
            running, _ = current.get()  # type: ignore[misc]
            asyncio.get_running_loop().call_soon(running.interrupt, SoftTimeLimitExceeded())

        @app.task(name="plain")
        def plain() -> None:
            self.ran.append("begun")

        self.send("wait")

    def send(self, task: str) -> None:
        """Have a lease of `task`, to be given to the child."""
        self.app.send_task(task)
        (self.lease,) = self.app.storage.claim(["celery"], worker=1, limit=1, visibility_s=60)

    def reports(self, *asked: tuple[int, int]) -> list[tuple[Any, ...]]:
        """The reports of the child when it is given its lease and asked for this at once, and then let go."""
        channel, page = Channel.open(), Page(shared=True)
        self.child = child = AsyncChild(
            self.app, ChildSettings(hostname="here", coroutines=10), channel.theirs, channel.permits_in, page
        )
        channel.ours.sendall(wire.frame([tuple(self.lease), *asked]))
        os.close(channel.permits_out)
        child._permitted.append(self.lease.token)  # it has read that before: its parent knows it as started
        os.set_blocking(channel.permits_in, False)
        try:
            child.workloop()
            return [row for rows in wire.Frames().feed(channel.ours.recv(1 << 16)) for row in rows]
        finally:
            child._loop.close()
            child._cells.release()
            channel.ours.close()
            channel.theirs.close()
            os.close(channel.permits_in)
            page.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    before = signal.getsignal(signal.SIGUSR1)
    bench = Bench(tmp_path)
    yield bench
    signal.signal(signal.SIGUSR1, before)
    asyncio.set_event_loop(None)
    bench.app.close()


def ends(bench: Bench, *asked: tuple[int, int]) -> list[int]:
    return [row[2] for row in bench.reports(*asked) if row[0] == bench.lease.token]


def test_one_that_is_stopped_before_its_first_step_is_reported(bench):
    assert ends(bench, (STOP, bench.lease.token)) == [wire.STOPPED]
    assert bench.ran == []


def test_a_soft_limit_before_the_first_step_is_raised_in_the_body(bench):
    assert ends(bench, (INTERRUPT, bench.lease.token)) == [wire.ACK]
    assert bench.ran == ["begun", "soft limit"]


def test_a_soft_limit_before_a_body_that_awaits_nothing_does_not_hit_what_follows_it(bench):
    bench.send("tell")
    assert ends(bench, (INTERRUPT, bench.lease.token)) == [wire.ACK]


def test_nothing_looks_at_a_loop_that_is_over(bench):
    before = set(threading.enumerate())
    assert ends(bench) == [wire.ACK]
    for one in set(threading.enumerate()) - before:
        one.join(timeout=5)
        assert not one.is_alive(), f"{one.name} would name what holds the loop up, by cells that are released"


def test_an_interruption_after_the_body_does_not_hit_what_follows_it(bench):
    """Also where the task has no limit: somebody has terminated it by the signal SIGUSR1."""
    bench.send("late")
    assert ends(bench) == [wire.ACK]


def test_a_lease_for_which_no_thread_can_be_started_goes_back_and_is_not_run(bench, monkeypatch, caplog):
    bench.send("plain")

    def refuse(_pool: ThreadPoolExecutor) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "_adjust_thread_count", refuse)
    (row,) = [row for row in bench.reports() if row[0] == bench.lease.token]
    outcome = wire.unpack(row[2], row[3:])
    assert isinstance(outcome, Release)
    assert outcome.pause_ms
    assert "no thread can be started" in caplog.text
    monkeypatch.undo()
    bench.child._threads.submit(lambda: None).result(60)  # the first thread finds what was queued
    assert bench.ran == []
