"""From `delay()` to `get()` over a real file; the queue is run empty in this process."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from liteq import AsyncResult, GroupResult, LiteQ, chain, chord, group, signals
from liteq.context import allow_join_result
from liteq.exceptions import ChordError, Reject, RemoteError, TaskRevokedError, TimeoutError
from liteq.result import result_from_tuple
from liteq.testing import FakeClock, drain, eager, start_worker


@pytest.fixture(params=["apsw", "stdlib"])
def app(request, tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db", sqlite_driver=request.param, clock=FakeClock()) as app:

        @app.task(name="add")
        def add(x, y):
            return x + y

        @app.task(name="total")
        def total(numbers):
            return sum(numbers)

        @app.task(name="fail")
        def fail(*args):
            raise ValueError("broken")

        @app.task(name="note")
        def note(*args):
            app.noted.append(args)

        app.noted = []
        yield app


def test_a_result_is_pending_then_there(app):
    result = app.tasks["add"].delay(1, 2)
    assert (result.state, result.ready(), result.exists()) == ("PENDING", False, True)
    assert drain(app) == 1
    assert (result.state, result.get(timeout=0), result.successful()) == ("SUCCESS", 3, True)
    assert (result.name, result.args, result.kwargs, result.queue, result.retries) == ("add", [1, 2], {}, "celery", 0)
    assert result.date_done == datetime(2026, 1, 1, tzinfo=UTC)
    result.forget()
    assert not result.exists()


def test_an_id_that_nobody_sent_is_pending_and_does_not_exist(app):
    result = app.AsyncResult("nobody")
    assert (result.state, result.exists()) == ("PENDING", False)


def test_get_gives_up_in_time(app):
    result = app.tasks["add"].delay(1, 2)
    with pytest.raises(TimeoutError):
        result.get(timeout=0)


def test_get_wakes_up_when_the_task_is_done(tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db") as app:

        @app.task(name="add")
        def add(x, y):
            return x + y

        result = add.delay(1, 2)
        got = []
        waiter = threading.Thread(target=lambda: got.append(result.get(timeout=60)))
        waiter.start()
        drain(app)
        waiter.join(timeout=60)
        assert got == [3]
        assert asyncio.run(add.AsyncResult(result.id).aget(timeout=0)) == 3


def test_a_failure_comes_back_as_what_was_raised_with_the_worker_s_traceback(app):
    result = app.tasks["fail"].delay()
    drain(app)
    with pytest.raises(ValueError, match="broken") as caught:
        result.get(timeout=0)
    assert "in fail" in caught.value.__notes__[0]
    assert result.state == "FAILURE"
    assert "in fail" in result.traceback
    assert isinstance(result.get(timeout=0, propagate=False), ValueError)


def test_a_class_that_is_not_here_comes_back_by_name(app):
    @app.task(name="local")
    def local():
        class Unknown(Exception):
            pass

        raise Unknown("u")

    result = local.delay()
    drain(app)
    with pytest.raises(RemoteError, match="Unknown: u"):
        result.get(timeout=0)


def test_countdown_waits_for_its_time_and_expires_is_never_run(app):
    later = app.tasks["add"].apply_async((1, 2), countdown=60)
    expired = app.tasks["add"].apply_async((1, 2), countdown=60, expires=30)
    assert drain(app) == 0
    app.clock.advance(seconds=61)
    drain(app)
    assert later.get(timeout=0) == 3
    assert expired.state == "REVOKED"


def test_a_retry_shows_as_such_and_runs_when_due(app):
    @app.task(name="retried", bind=True, default_retry_delay=10)
    def retried(self):
        if not self.request.retries:
            raise self.retry(exc=OSError("once"))
        return self.request.retries

    result = retried.delay()
    drain(app)
    assert (result.state, str(result.info), result.retries) == ("RETRY", "once", 1)
    drain(app, until_ms=app.clock.now_ms() + 10_000)
    assert result.get(timeout=0) == 1


def test_ignored_results_return_none_at_once(app):
    result = app.tasks["add"].apply_async((1, 2), ignore_result=True)
    assert result.get() is None
    drain(app)
    assert not result.exists()


def test_revoked_before_it_ran(app):
    result = app.tasks["add"].delay(1, 2)
    result.revoke()
    assert drain(app) == 0
    assert result.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        result.get(timeout=0)


def test_a_task_tells_of_its_progress(app):
    @app.task(name="progress", bind=True)
    def progress(self):
        self.update_state(state="HALF", meta={"done": 50})
        other = app.AsyncResult(self.request.id)
        app.noted.append((other.state, other.info))

    progress.delay()
    drain(app)
    assert app.noted == [("HALF", {"done": 50})]


def test_waiting_inside_a_task_is_refused_unless_allowed(app):
    @app.task(name="waits")
    def waits(id_, allowed):
        result = app.AsyncResult(id_)
        if allowed:
            with allow_join_result():
                return result.get(timeout=0)
        return result.get(timeout=0)

    first = app.tasks["add"].delay(1, 2)
    drain(app)
    refused, allowed = waits.delay(first.id, False), waits.delay(first.id, True)
    drain(app)
    with pytest.raises(RuntimeError, match="Never call"):
        refused.get(timeout=0)
    assert allowed.get(timeout=0) == 3


def test_a_message_knows_who_sent_it(app):
    @app.task(name="parent", bind=True)
    def parent(self):
        return app.tasks["add"].delay(1, 1).id

    result = parent.delay()
    drain(app)
    child = app.storage.reader.find(result.get(timeout=0))
    assert (child.parent_id, child.root_id) == (result.id, result.id)


def test_a_unique_key_that_is_taken_returns_its_holder(app):
    add = app.tasks["add"]
    first = add.apply_async((1, 2), unique_key="k")
    assert add.apply_async((5, 5), unique_key="k").id == first.id
    assert drain(app) == 1
    assert add.apply_async((5, 5), unique_key="k").id != first.id


def test_many_in_one_commit(app):
    add = app.tasks["add"]
    ids = app.enqueue_many(add.s(n, n) for n in range(50))
    assert len(set(ids)) == 50
    assert drain(app) == 50
    assert [app.AsyncResult(i).get(timeout=0) for i in ids] == [2 * n for n in range(50)]


def test_one_bad_signature_among_many_sends_none(app):
    add = app.tasks["add"]
    with pytest.raises(TypeError):
        app.enqueue_many([add.s(1, 1), add.s(1, object())])
    assert app.storage.reader.counts() == []


def test_a_chain_passes_results_on_and_its_failure_reaches_its_end(app):
    add, fail = app.tasks["add"], app.tasks["fail"]
    good = chain(add.s(1, 1), add.s(10), add.s(100)).delay()
    bad = chain(add.s(1, 1), fail.s(), add.s(1)).delay()
    drain(app)
    assert good.get(timeout=0) == 112
    assert good.parent.parent.get(timeout=0) == 2
    with pytest.raises(ValueError, match="broken"):
        bad.get(timeout=0)


def test_a_group_s_results_come_in_order_and_it_is_restored_by_id(app):
    result = group(app.tasks["add"].s(n, n) for n in range(5)).delay()
    assert result.completed_count() == 0
    drain(app)
    assert result.get(timeout=0) == [0, 2, 4, 6, 8]
    assert (result.completed_count(), result.successful()) == (5, True)
    restored = GroupResult.restore(result.id, app=app)
    assert restored == result
    again = result_from_tuple(result.as_tuple(), app=app)
    assert again == result
    assert again.join_native(timeout=0) == [0, 2, 4, 6, 8]


def test_a_chord_reduces_and_fails_with_its_header(app):
    add, total, fail = (app.tasks[name] for name in ("add", "total", "fail"))
    good = chord([add.s(n, n) for n in range(10)], total.s()).delay()
    bad = chord([add.s(1, 1), fail.s()], total.s()).delay()
    drain(app)
    assert good.get(timeout=0) == 90
    with pytest.raises(ValueError, match="broken"):
        bad.get(timeout=0)  # as in Celery: of the parents, the first that failed
    with pytest.raises(ChordError, match="broken"):
        bad.get(timeout=0, follow_parents=False)
    assert isinstance(bad.result, ChordError)


def test_a_failure_above_is_raised_although_the_one_below_still_waits(app):
    add, total, fail = (app.tasks[name] for name in ("add", "total", "fail"))
    waiting = chord([fail.s(), add.s(1, 1).set(countdown=3600)], total.s()).delay()
    drain(app)
    assert not waiting.ready()
    with pytest.raises(ValueError, match="broken"):
        waiting.get(timeout=0)


def test_links_and_errbacks_run_after_their_task(app):
    add, fail, note = (app.tasks[name] for name in ("add", "fail", "note"))
    sent = add.apply_async((1, 2), link=note.s("after"), link_error=note.s("never"))

    @app.task(name="on_error")
    def on_error(task_id):
        app.noted.append(task_id)

    failed = fail.apply_async(link=note.s("never"), link_error=on_error.s())
    drain(app)
    assert app.noted == [(3, "after"), failed.id]
    assert failed.state == "FAILURE"
    assert [(node.name, value) for node, value in sent.collect(timeout=0)] == [("add", 3), ("note", None)]


def test_a_replaced_task_ends_as_its_replacement(app):
    @app.task(name="outer", bind=True)
    def outer(self, n):
        raise self.replace(group(app.tasks["add"].s(n, i) for i in range(3)))

    alone = outer.delay(1)
    in_chain = chain(outer.s(10), app.tasks["total"].s()).delay()
    drain(app)
    assert alone.get(timeout=0) == [1, 2, 3]
    assert in_chain.get(timeout=0) == 33


def test_maps_and_chunks(app):
    add = app.tasks["add"]
    starmap = add.starmap([(1, 2), (3, 4)]).delay()
    chunks = add.chunks([(n, n) for n in range(5)], 2).delay()
    drain(app)
    assert starmap.get(timeout=0) == [3, 7]
    assert chunks.get(timeout=0) == [[0, 2], [4, 6], [8]]


def test_eager_canvases_give_what_real_ones_do(app):
    add, total = app.tasks["add"], app.tasks["total"]
    with eager(app):
        assert chain(add.s(1, 1), add.s(5)).delay().get() == 7
        assert group(add.s(n, n) for n in range(3)).delay().get() == [0, 2, 4]
        assert chord([add.s(n, n) for n in range(3)], total.s()).delay().get() == 6
    assert app.storage.reader.counts() == []


def test_a_before_publish_receiver_may_add_headers(app):

    @app.task(name="headers", bind=True)
    def headers(self):
        return self.request.headers

    def add_header(headers, **kwargs):
        headers["request_id"] = "r-1"

    signals.before_task_publish.connect(add_header)
    try:
        result = headers.delay()
    finally:
        signals.before_task_publish.disconnect(add_header)
    drain(app)
    assert result.get(timeout=0) == {"request_id": "r-1"}


def test_publish_signals_tell_of_every_message_of_a_canvas(app):
    @app.task(name="id_of", bind=True)
    def id_of(self, *inputs):
        return self.request.headers["request_id"]

    before, after = [], []

    def add_header(sender, headers, **kwargs):
        headers["request_id"] = f"r-{len(before)}"
        before.append(headers["id"])

    def note(sender, headers, body, **kwargs):
        after.append((headers["id"], headers["request_id"], body[0]))

    signals.before_task_publish.connect(add_header)
    signals.after_task_publish.connect(note)
    try:
        result = chord([id_of.s(1), id_of.s(2)], id_of.s()).delay()
    finally:
        signals.before_task_publish.disconnect(add_header)
        signals.after_task_publish.disconnect(note)
    drain(app)
    assert result.parent.get(timeout=0) == ["r-0", "r-1"]
    assert result.get(timeout=0) == "r-2"
    assert [sent[0] for sent in after] == before
    assert [sent[1:] for sent in after] == [("r-0", [1]), ("r-1", [2]), ("r-2", [])]


def test_an_unknown_task_is_a_dead_letter_that_says_so(app):
    result = app.send_task("no.such.task", (1,))
    drain(app)
    assert "no.such.task" in str(result.get(timeout=0, propagate=False))
    assert AsyncResult(result.id, app=app).failed()


def test_an_id_that_was_sent_and_has_finished_may_be_sent_again(app):
    note = app.tasks["note"]
    for _ in range(2):
        note.apply_async(("once more",), task_id="daily")
        note.apply_async(("once more",), task_id="daily")  # while the first has not finished, it stands for both
        drain(app)
    assert app.AsyncResult("daily").successful()
    assert app.noted == [("once more",)] * 2


def test_a_frozen_canvas_may_be_sent_again(app):
    add, total = app.tasks["add"], app.tasks["total"]
    frozen = chord([add.s(1, 2), add.s(3, 4)], total.s())
    result = frozen.freeze()
    for _ in range(2):
        assert frozen.apply_async().id == result.id
        assert drain(app) == 3
    assert result.get(timeout=0) == 10


def test_a_worker_tells_what_it_received_with_its_stamps(app):
    heard = []

    def listen(sender, request, **kwargs):
        heard.append((request.task_name, request.args, request.stamps, request.stamped_headers))

    signals.task_received.connect(listen)
    try:
        stamped = app.tasks["add"].s(1, 2)
        stamped.stamp(order=7)
        with start_worker(app, perform_ping_check=False):
            assert stamped.apply_async().get(timeout=60) == 3
    finally:
        signals.task_received.disconnect(listen)
    assert heard == [("add", [1, 2], {"order": 7}, ["order"])]


def test_a_result_can_be_stored_by_who_knows_it_and_shown_while_it_runs(app):
    app.backend.store_result("elsewhere", {"rows": 3}, "SUCCESS")
    assert app.AsyncResult("elsewhere").get(timeout=0) == {"rows": 3}
    app.backend.mark_as_failure("elsewhere", KeyError("gone"))
    with pytest.raises(KeyError):
        app.AsyncResult("elsewhere").get(timeout=0)
    waiting = app.tasks["add"].delay(1, 2)
    app.backend.store_result(waiting.id, "not yet", "SUCCESS")
    drain(app)
    assert waiting.get(timeout=0) == 3


def test_a_result_reads_from_the_file_of_the_backend_that_it_is_given(app, tmp_path):
    sent = app.tasks["add"].delay(1, 2)
    drain(app)
    with LiteQ("other", broker=f"sqlite:///{tmp_path}/other.db", set_as_current=False) as other:
        assert AsyncResult(sent.id, backend=other.backend).state == "PENDING"
        assert AsyncResult(sent.id, backend=app.backend).state == "SUCCESS"
        moved, together = other.AsyncResult(sent.id), GroupResult("g", [sent], app=other)
        moved.backend = together.backend = app.backend
        assert (moved.state, together.app) == ("SUCCESS", app)
        moved.backend = object()  # of a library: it has no file
        assert moved.state == "SUCCESS"


def test_a_result_of_this_process_tells_of_itself_without_a_file(app):
    app.conf.task_always_eager = True
    done, failed = app.tasks["add"].delay(1, 2), app.tasks["fail"].delay()
    assert (done.app, done.backend) == (None, None)
    meta = failed._get_task_meta()
    assert (meta["status"], type(meta["result"]), meta["name"]) == ("FAILURE", ValueError, "fail")
    assert asyncio.run(done.ameta())["result"] == 3
    assert asyncio.run(done.aexists())
    done.backend = app.backend
    assert done.get(after=done.position) == 3


def test_a_result_s_meta_has_its_stamps_and_its_group(app):
    sent = group(app.tasks["add"].s(n, n) for n in range(2))
    sent.stamp(order=7)
    member, _ = result = sent.apply_async()
    drain(app)
    meta = app.backend.get_task_meta(member.id)
    assert (meta["order"], meta["stamped_headers"], meta["group_id"]) == (7, ["order"], result.id)


def test_a_request_knows_the_limits_of_its_call_else_of_its_task(app):
    @app.task(name="limits", bind=True, time_limit=60, soft_time_limit=45)
    def limits(self):
        return self.request.time_limit, self.request.soft_time_limit

    own, called = limits.delay(), limits.apply_async(time_limit=30, soft_time_limit=20)
    drain(app)
    assert (own.get(timeout=0), called.get(timeout=0)) == ([60, 45], [30, 20])


def test_a_rejected_message_comes_back_as_redelivered(app):
    @app.task(name="picky", bind=True)
    def picky(self):
        if not self.request.delivery_info["redelivered"]:
            raise Reject(requeue=True)
        return "second"

    sent = picky.delay()
    assert drain(app) == 2
    assert sent.get(timeout=0) == "second"


@pytest.mark.parametrize(
    ("first", "again", "seen"),
    [
        (((), {"x": 1, "y": 2}), {"args": (5, 6)}, [5, 6]),
        (((1, 2), {}), {"kwargs": {"x": 7}}, [7, 2]),
        (((1,), {"y": 2}), {"kwargs": {"y": 8}}, [1, 8]),
    ],
)
def test_a_retry_may_give_by_name_what_was_given_by_position(app, first, again, seen):
    @app.task(name="switch", bind=True, default_retry_delay=0)
    def switch(self, x, y):
        if not self.request.retries:
            raise self.retry(countdown=0, **again)
        return [x, y]

    sent = switch.apply_async(*first)
    drain(app)
    assert sent.get(timeout=0) == seen


def test_properties_that_the_sender_gave_are_in_the_request(app):
    @app.task(name="properties", bind=True)
    def properties(self):
        return self.request.properties["app_id"]

    sent = properties.apply_async(app_id="1234")
    drain(app)
    assert sent.get(timeout=0) == "1234"


def test_a_soft_limit_over_the_hard_one_is_refused(app):
    @app.task(name="never", soft_time_limit=2, time_limit=1)
    def never():
        pass

    with pytest.raises(ValueError, match="less than or equal"):
        never.delay()


def test_what_a_task_sent_are_its_children(app):
    add, total = app.tasks["add"], app.tasks["total"]

    @app.task(name="sends")
    def sends():
        add.delay(1, 1)
        (add.s(2, 2) | add.s(1)).delay()
        group(add.s(n, n) for n in range(2)).delay()
        chord([add.s(3, 3)], total.s()).delay()

    sent = sends.delay()
    drain(app)
    single, first, side_by_side, header = sent.children
    assert (single.get(timeout=0), first.get(timeout=0)) == (2, 4)
    assert side_by_side.get(timeout=0) == [0, 2]
    assert (header.get(timeout=0), [child.get(timeout=0) for child in first.children]) == ([6], [5])
    assert [value for _, value in sent.collect(timeout=0)][:4] == [None, 2, 4, [0, 2]]


def test_a_member_that_grew_its_chord_has_not_the_chord_as_its_child(app):
    add, total = app.tasks["add"], app.tasks["total"]

    @app.task(name="grow", bind=True)
    def grow(self):
        self.add_to_chord(add.s(1, 1))
        return 1

    body = chord([grow.s()], total.s()).delay()
    drain(app)
    assert body.get(timeout=0) == 3
    assert body.parent.results[0].children == []
