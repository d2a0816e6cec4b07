"""The soft limit of an `async def` task that a process runs by itself: an event loop swallows nothing of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import SoftTimeLimitExceeded
from liteq.serialization import encode
from liteq.utils.coroutines import kept_loop
from liteq.worker.pool.executor import Executor

LIMIT_S = 0.05


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("limited", broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False)
    yield app
    app.close()


def test_a_limit_that_comes_in_a_callback_of_the_loop_is_raised_in_the_task(app, caplog):
    """As in one of a protocol, where network libraries spend their time: the loop logs what is raised there."""

    def work() -> None:
        until = time.monotonic() + 3 * LIMIT_S
        while time.monotonic() < until:
            pass

    @app.task(name="waits", soft_time_limit=LIMIT_S)
    async def waits() -> str:
        asyncio.get_running_loop().call_soon(work)
        try:
            await asyncio.sleep(1.0)
        except SoftTimeLimitExceeded:
            return "limited"
        return "not limited"

    waits.delay()
    (lease,) = app.storage.claim(["celery"], worker=1, limit=1, visibility_s=60)
    outcome, _ = Executor(app, hostname="here").run(lease)
    assert outcome.result == encode("limited", what="a result")
    assert "Exception in callback" not in caplog.text


class Ringing(deque[Any]):
    """The queue of a loop: a limit comes when the next step was taken out of it, and has not begun."""

    is_next = False

    def popleft(self) -> Any:
        taken = super().popleft()
        if self.is_next:
            self.is_next = False
            signal.raise_signal(signal.SIGALRM)
        return taken


def test_a_limit_that_comes_in_the_loop_itself_costs_no_other_task_a_step(app, monkeypatch):
    ready = Ringing()
    monkeypatch.setattr(kept_loop(), "_ready", ready)

    async def other() -> None:
        ready.is_next = True
        await asyncio.sleep(0)

    @app.task(name="waits", soft_time_limit=60)
    async def waits() -> bool:
        started = asyncio.create_task(other())
        try:
            await asyncio.sleep(60)
        except SoftTimeLimitExceeded:
            done, _ = await asyncio.wait({started}, timeout=2.0)
            return started in done
        return False

    waits.delay()
    (lease,) = app.storage.claim(["celery"], worker=1, limit=1, visibility_s=60)
    outcome, _ = Executor(app, hostname="here").run(lease)
    assert outcome.result == encode(True, what="a result")
