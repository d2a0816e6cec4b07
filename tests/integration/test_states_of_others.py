"""States that somebody stores for an id: one that is not known, one that waits, one that is sent later."""

from __future__ import annotations

import pytest

from liteq import LiteQ, signals, states
from liteq.exceptions import TimeoutError as ResultTimeout
from liteq.testing import drain


@pytest.fixture
def app(tmp_path):
    app = LiteQ("shown", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)

    @app.task(name="note", bind=True)
    def note(self, n):
        return n

    @app.task(name="tell", bind=True)
    def tell(self, whom):
        self.update_state(task_id=whom, state="FED", meta={"by": self.request.id})

    yield app
    app.close()


@pytest.mark.celery("Results", "An id that nobody knows is PENDING; store_result() shows a state of one's own for it")
def test_a_state_for_an_id_that_nobody_knows(app):
    result = app.AsyncResult("elsewhere")
    assert (result.state, result.info, result.ready()) == (states.PENDING, None, False)
    app.backend.store_result("elsewhere", {"rows": 3}, "LOADING")
    assert (result.state, result.info, result.ready()) == ("LOADING", {"rows": 3}, False)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.05)
    app.backend.mark_as_done("elsewhere", 7)
    assert (result.state, result.get(timeout=1)) == (states.SUCCESS, 7)
    result.forget()
    assert app.AsyncResult("elsewhere").state == states.PENDING


def test_mark_as_started_and_retry_for_an_id_that_nobody_knows(app):
    app.backend.mark_as_started("elsewhere", pid=7)
    assert (app.AsyncResult("elsewhere").state, app.AsyncResult("elsewhere").info) == (states.STARTED, {"pid": 7})
    app.backend.mark_as_retry("elsewhere", KeyError("later"))
    told = app.AsyncResult("elsewhere")
    assert (told.state, type(told.info), told.info.args) == (states.RETRY, KeyError, ("later",))
    app.backend.mark_as_failure("elsewhere", KeyError("gone"))
    assert app.AsyncResult("elsewhere").state == states.FAILURE


def test_nothing_is_stored_where_the_caller_says_so(app):
    app.backend.mark_as_failure("elsewhere", KeyError("gone"), store_result=False)
    app.backend.mark_as_done("elsewhere", 7, store_result=False)
    app.backend.mark_as_revoked("elsewhere", store_result=False)
    app.backend.mark_as_retry("elsewhere", KeyError("later"), store_result=False)
    assert app.AsyncResult("elsewhere").state == states.PENDING


def test_the_backend_waits_for_the_meta_of_a_task(app):
    app.backend.mark_as_done("elsewhere", 7)
    meta = app.backend.wait_for("elsewhere", timeout=1)
    assert (meta["status"], meta["result"]) == (states.SUCCESS, 7)
    with pytest.raises(ResultTimeout):
        app.backend.wait_for("nowhere", timeout=0.05)


def test_a_failure_told_of_what_waits_is_the_exception(app):
    waiting = app.tasks["note"].delay(1)
    app.backend.mark_as_failure(waiting.id, KeyError("lost", {1}))
    assert (waiting.state, waiting.info.args) == (states.FAILURE, ("lost", "{1}"))
    with pytest.raises(KeyError, match="lost"):
        waiting.maybe_throw()


@pytest.mark.celery("Results", "update_state(task_id=) of another task, sent or not")
def test_a_task_tells_of_another(app):
    app.tasks["tell"].delay("elsewhere")
    drain(app)
    assert app.AsyncResult("elsewhere").state == "FED"


@pytest.mark.parametrize("many", [False, True], ids=["one", "a thousand"])
@pytest.mark.parametrize("chosen", [True, False], ids=["again", "idempotent"])
def test_the_message_takes_the_place_of_what_was_shown_for_it(app, many, chosen):
    app.backend.store_result("x", None, "ORDERED")
    note = app.tasks["note"]
    if many:
        app.enqueue_many([note.s(n).set(task_id="x" if n == 0 else None) for n in range(1000)])
    else:
        note.apply_async((0,), task_id="x", idempotent=not chosen)
    assert app.AsyncResult("x").state == states.PENDING
    drain(app)
    assert app.AsyncResult("x").get(timeout=1) == 0


@pytest.mark.celery("Results", "A receiver of after_task_publish may store a state that tells sent from unknown")
def test_sent_is_told_from_unknown(app):
    def mark(sender, headers, **_):
        app.backend.store_result(headers["id"], None, "SENT")

    signals.after_task_publish.connect(mark)
    try:
        result = app.tasks["note"].delay(1)
    finally:
        signals.after_task_publish.disconnect(mark)
    assert result.state == "SENT"
    drain(app)
    assert (result.state, result.get(timeout=1)) == (states.SUCCESS, 1)


def test_a_revoke_of_what_is_only_shown_holds_for_the_message_that_comes(app):
    app.backend.store_result("x", None, "ORDERED")
    app.control.revoke("x")
    app.tasks["note"].apply_async((0,), task_id="x")
    assert "x" in app.storage.commands.revoked_ids()
