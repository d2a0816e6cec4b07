"""The events of a worker's tasks: what is written with an outcome, and what is told once."""

from __future__ import annotations

import orjson
import pytest

from liteq import LiteQ
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.worker.chores.event_log import EventLog
from liteq.worker.pool.base import RunningLease


class Pool:
    def __init__(self):
        self.timings = {}
        self.executing = []

    def running(self):
        return self.executing


@pytest.fixture
def app(tmp_path):
    app = LiteQ("events", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def lease(app):
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    app.storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
    (found,) = app.storage.claim(["celery"], worker=number, limit=1, visibility_s=60)
    return found


def types(events):
    return [orjson.loads(event)["type"] for event in events]


def test_a_start_is_told_once_though_the_outcome_has_to_wait_and_is_tried_again(app, lease):
    """The outcome of a task that has left the pool may share its commit with others, or meet a busy file."""
    pool, held = Pool(), [lease]
    log = EventLog(app, app.storage, "w", pool, enabled=True, held=lambda: held)
    pool.executing = [RunningLease(lease, 0.0, 1)]
    log.turn()  # the start is written
    pool.executing, pool.timings = [], {lease.token: (0, 0.1)}
    log.turn()  # the outcome waits
    outcomes = [(lease, Ack(ran=(0, 0.1)))]
    tries = [log.ended(outcomes) for _ in range(2)]
    assert [types(event for _, event in one) for one in tries] == [["task-succeeded"], ["task-succeeded"]]
    log.written(tries[-1])
    held.clear()
    assert types(data for _, data in app.storage.events.after(0, 10)) == ["task-started"]
    assert not log._started


def test_a_start_of_which_nothing_was_told_comes_with_the_end(app, lease):
    log = EventLog(app, app.storage, "w", Pool(), enabled=True, held=lambda: [lease])
    ended = log.ended([(lease, Ack(ran=(0, 0.1)))])
    assert types(event for _, event in ended) == ["task-started", "task-succeeded"]
