"""A revoked task ends as REVOKED, in spite of a state of its own, and its replacement ends with it."""

from __future__ import annotations

import pytest

from liteq import LiteQ, chain
from liteq.exceptions import PayloadTooLarge, TaskRevokedError
from liteq.message import WorkerIdentity, new_id
from liteq.testing import drain
from liteq.testing.worker import start_worker
from tests.integration.runs import Worker


@pytest.fixture
def app(tmp_path):
    app = LiteQ("revoked", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.ran = []

    @app.task(name="note")
    def note(n):
        app.ran.append(n)

    @app.task(name="become", bind=True)
    def become(self):
        raise self.replace(chain(note.si(1).set(countdown=3600), note.si(2)))

    @app.task(name="tells", bind=True)
    def tells(self, size=1):
        self.update_state(state="PROGRESS", meta="x" * size)

    yield app
    app.close()


def test_what_has_replaced_itself_is_revoked_with_its_replacement(app):
    result = app.tasks["become"].delay()
    drain(app)
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=1)
    assert app.storage.reader.next_due_ms() is None
    assert app.ran == []


def test_the_worker_is_told_which_replacement_runs(app):
    result = app.tasks["become"].delay()
    drain(app)
    worker = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    with app.storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET state = 'pending' WHERE state = 'scheduled'")
    (running,) = app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    result.revoke()
    assert running.id in app.storage.commands.revoked_ids()


def test_a_task_that_is_revoked_while_it_runs_does_not_replace_itself(app):
    result, worker = app.tasks["become"].delay(), Worker(app)
    lease = worker.claim()
    result.revoke()
    app.storage.settle([(lease, worker.execute(lease))])
    with pytest.raises(TaskRevokedError):
        result.get(timeout=1)
    assert app.storage.reader.next_due_ms() is None


def test_what_has_told_its_progress_and_is_cancelled_is_revoked(app):
    result = app.tasks["tells"].apply_async(countdown=3600)
    app.backend.store_result(result.id, {"done": 1}, "PROGRESS")
    assert result.state == "PROGRESS"
    result.revoke()
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get(timeout=1)


def test_a_state_of_its_own_is_held_to_the_limit_of_a_result(app):
    result = app.tasks["tells"].delay(2_000_000)
    drain(app)
    with pytest.raises(PayloadTooLarge, match="max_result_bytes"):
        result.get(timeout=1)
    for state in ("SUCCESS", "PROGRESS"):
        with pytest.raises(PayloadTooLarge, match="max_result_bytes"):
            app.backend.store_result("other", "x" * 2_000_000, state)


@pytest.mark.parametrize("key", ["x" * 256, "", 7, "\ud800"])
def test_a_unique_key_is_a_name(app, key):
    with pytest.raises((TypeError, ValueError), match="unique_key"):
        app.tasks["note"].apply_async((1,), unique_key=key)


def test_at_most_once_is_noted_before_the_body_runs(app, eventually):
    seen = []

    @app.task(name="early", acks_late=False, bind=True)
    def early(self):
        with app.storage.driver.read() as tx:
            seen.extend(tx.execute("SELECT flags & 16384 FROM liteq_messages"))

    with start_worker(app, perform_ping_check=False):
        early.delay()
        eventually(lambda: seen)
    assert seen == [(16384,)]
