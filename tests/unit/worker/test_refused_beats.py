"""A worker whose beats the queue refuses: locked by another writer, say, or on a server that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.exceptions import StorageBusy, StorageError, StorageUnavailable
from liteq.worker import Worker


class Clockwork:
    """A chore that needs no queue."""

    due_at = 0.0

    def __init__(self) -> None:
        self.turns = 0

    def turn(self) -> None:
        self.turns += 1


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("refused", broker=f"sqlite:///{tmp_path}/queue.db")
    app.conf.update(visibility_timeout=1.0)
    yield app
    app.close()


@pytest.mark.parametrize("error", [StorageBusy, StorageUnavailable])
def test_the_chores_go_on_while_no_beat_is_taken(app, eventually, error: type[StorageError]):
    """The end of a soft shutdown is one of them: a worker that was told to end would wait for the queue."""
    ready, chore, refused = threading.Event(), Clockwork(), []

    def heartbeat(*_: Any, **__: Any) -> Any:
        refused.append(chore.turns)
        raise error("refused")

    worker = Worker(app, pool="threads", concurrency=1, chores=[chore], on_ready=lambda _: ready.set())
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert ready.wait(60)
        worker.running.storage.heartbeat = heartbeat
        eventually(lambda: len(refused) >= 2 and chore.turns > refused[1], within_s=20)
    finally:
        worker.stop(cold=True)
        thread.join(60)
    assert not thread.is_alive()


def test_a_soft_shutdown_ends_though_no_outcome_can_be_stored(app: LiteQ) -> None:
    """A worker that was told to leave at once would wait for the queue, for as long as that refuses."""
    app.conf.update(worker_soft_shutdown_timeout=0.5)
    ready, begun, go = threading.Event(), threading.Event(), threading.Event()

    @app.task(name="wait")
    def wait() -> None:
        begun.set()
        go.wait(60)

    def turn(*_: Any, **__: Any) -> Any:
        raise StorageBusy(1.0)

    wait.delay()
    worker = Worker(app, pool="threads", concurrency=1, on_ready=lambda _: ready.set())
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert ready.wait(60)
        assert begun.wait(60)
        worker.running.storage.turn = turn  # type: ignore[method-assign]
        go.set()
        worker.stop(cold=True)
        thread.join(20)
        ended = not thread.is_alive()
    finally:
        worker.stop(cold=True)
        thread.join(60)
    assert ended
