"""Calls that have nothing but arguments take a way of their own to the file, and nobody can tell from what is there."""

from __future__ import annotations

from unittest import mock

import pytest

from liteq import LiteQ, Task, chain, signals
from liteq.exceptions import NotSerializable, PayloadTooLarge
from liteq.message import new_id
from liteq.storage.rows.payloads import INLINE_BYTES
from liteq.testing import FakeClock, drain


@pytest.fixture(params=["apsw", "stdlib"])
def app(request, tmp_path):
    with LiteQ("it", broker=f"sqlite:///{tmp_path}/q.db", sqlite_driver=request.param, clock=FakeClock()) as app:
        yield app


@pytest.fixture
def add(app):
    @app.task(name="add")
    def add(x, y=0):
        return x + y

    return add


def rows(app):
    """All rows, whole but for what is each row's own."""
    with app.storage.driver.read() as tx:
        columns = [row[1] for row in tx.execute("PRAGMA table_info(liteq_messages)")]
        found = tx.execute("SELECT * FROM liteq_messages ORDER BY seq")
    whole = [dict(zip(columns, row, strict=True)) for row in found]
    return [{key: value for key, value in row.items() if key not in ("seq", "id")} for row in whole]


def the_row(app):
    (row,) = rows(app)
    app.storage.purge()
    return row


def sent_by_the_general_way(task, *args, **kwargs):
    task.app.sender.send_call(task, task.name, args, kwargs, new_id(), {})


OPTIONS = {
    "nothing": {},
    "no result": {"ignore_result": True},
    "queue and priority": {"queue": "other", "priority": 7},
    "at most once": {"acks_late": False, "track_started": True},
    "an end": {"expires": 60},
    "another form": {"compression": "gzip"},
    "no check": {"typing": False},
}
ARGUMENTS = {
    "none": ((), {}),
    "scalars": ((1, "a", True, None, 2**63), {}),
    "larger": ((2**70, 1.5, float("inf"), b"bytes"), {}),
    "containers": (([1, {"a": (2,)}], {"__type__": "date"}), {"b": [3]}),
    "a large one": (("x" * 2 * INLINE_BYTES,), {}),
}


@pytest.mark.parametrize("arguments", ARGUMENTS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_row_is_that_of_the_general_way(app, options, arguments):
    @app.task(name="t", **OPTIONS[options])
    def task(*args, **kwargs): ...

    args, kwargs = ARGUMENTS[arguments]
    sent_by_the_general_way(task, *args, **kwargs)
    general = the_row(app)
    task.delay(*args, **kwargs)
    assert the_row(app) == general
    task.apply_async(args, kwargs)
    assert the_row(app) == general
    app.enqueue_many([task.s(*args, **kwargs)])
    assert the_row(app) == general
    if not kwargs:
        app.enqueue_many(task, [args])
        assert the_row(app) == general


def test_a_task_that_is_not_here_is_sent_by_its_name(app):
    app.send_task("elsewhere", (1,))
    general = the_row(app)
    assert general["payload"] == b"[[1],{}]"
    app.enqueue_many("elsewhere", [(1,)])
    assert the_row(app) == general


@pytest.mark.parametrize(
    ("bad", "error"),
    [((), TypeError), ((1, 2, 3), TypeError), ((object(),), NotSerializable), (("x" * 5_000_000,), PayloadTooLarge)],
)
def test_what_cannot_be_sent_is_refused_and_nothing_sent(app, add, bad, error):
    add.delay(1)
    the_row(app)
    with pytest.raises(error):
        add.delay(*bad)
    with pytest.raises(error):
        app.enqueue_many(add, [(1,), bad])
    with pytest.raises(error):
        app.enqueue_many([add.s(1), add.s(*bad)])
    assert rows(app) == []


def test_a_call_s_arguments_are_a_tuple_or_a_list(app, add):
    ids = app.enqueue_many(add, iter([(1, 2), [3]]))
    assert drain(app) == 2
    assert [app.AsyncResult(id_).get(timeout=0) for id_ in ids] == [3, 3]
    for bad in (7, "12", {"x": 1}):
        with pytest.raises(TypeError, match="the arguments of one call are a tuple or a list"):
            app.enqueue_many(add, [bad])


def test_a_route_s_time_limits_hold_for_calls_without_options(app, add):
    app.conf.task_routes = {"add": {"queue": "slow", "time_limit": 9, "soft_time_limit": 5}}
    add.delay(1)
    app.enqueue_many(add, [(1,)])
    app.enqueue_many([add.s(1)])
    assert [(row["queue"], row["options"]) for row in rows(app)] == [("slow", b'{"timelimit":[9,5]}')] * 3


# -- everything that may change it does so at once


def test_it_sees_that_a_task_or_a_setting_has_changed(app, add):
    add.delay(1)
    assert the_row(app)["queue"] == "celery"
    add.queue = "second"
    add.delay(1)
    assert the_row(app)["queue"] == "second"
    add.queue = None
    app.conf.task_routes = {"add": "third"}
    add.delay(1)
    assert the_row(app)["queue"] == "third"
    app.conf.task_routes = [lambda name, args, *_, **__: {"queue": f"queue-{args[0]}"}]
    add.delay(1)
    assert the_row(app)["queue"] == "queue-1"
    app.conf.task_always_eager = True
    assert add.delay(1, 2).get() == 3
    assert len(app.enqueue_many(add, [(1, 2)])) == 1
    assert rows(app) == []


def test_it_sees_that_somebody_has_put_a_function_in_the_way(app, add):
    add.delay(1)
    add.s(1)
    with mock.patch.object(add, "apply_async", return_value="on the task"):
        assert add.delay(1) == "on the task"
    with mock.patch.object(Task, "apply_async", return_value="on all tasks"):
        assert add.delay(1) == "on all tasks"
    with mock.patch.object(add, "signature", return_value="a signature"):
        assert add.s(1) == "a signature"
    assert len(rows(app)) == 1


def test_it_sees_a_receiver(app, add):
    add.delay(1)

    def receiver(headers, **_):
        headers["tenant"] = "t1"

    signals.before_task_publish.connect(receiver)
    try:
        add.delay(2)
    finally:
        signals.before_task_publish.disconnect(receiver)
    add.delay(3)
    assert [row["options"] for row in rows(app)] == [None, b'{"headers":{"tenant":"t1"}}', None]


def test_what_a_task_sends_is_its_child(app, add):
    @app.task(name="parent")
    def parent():
        add.delay(1)
        app.enqueue_many(add, [(2,)])
        app.enqueue_many([add.s(3)])

    sent = parent.delay()
    drain(app)
    family = [(row["task"], row["root_id"], row["parent_id"]) for row in rows(app)]
    assert family == [("parent", None, None), *[("add", sent.id, sent.id)] * 3]


def test_events_are_told_of(app, add):
    app.conf.task_send_sent_event = True
    add.delay(1)
    app.enqueue_many(add, [(2,), (3,)])
    assert len(app.storage.events.after(0, limit=9)) == 3


# -- very many


@pytest.mark.parametrize("n", [0, 1, 49, 50, 51, 125])
def test_many_come_in_their_order(app, add, n):
    ids = app.enqueue_many(add, ((i, 1) for i in range(n)))
    assert len(set(ids)) == n
    assert [row["payload"] for row in rows(app)] == [b"[[%d,1],{}]" % i for i in range(n)]
    drain(app)
    assert [app.AsyncResult(id_).get(timeout=0) for id_ in ids] == [i + 1 for i in range(n)]


def test_signatures_of_all_kinds_may_be_mixed(app, add):
    @app.task(name="late", expires=60)
    def late(x):
        return -x

    ids = app.enqueue_many([
        add.s(1), late.s(2), add.s(3), add.s(4, y=1), add.s(5).set(task_id="mine"), chain(add.s(6), add.s(1)), add.s(8),
    ])  # fmt: skip
    assert ids[4] == "mine"
    assert [row["payload"][:3] for row in rows(app)] == [b"[[%d" % n for n in (1, 2, 3, 4, 5, 6, 1, 8)]
    drain(app)
    assert [app.AsyncResult(id_).get(timeout=0) for id_ in ids] == [1, -2, 3, 5, 5, 7, 8]


def test_large_arguments_among_many(app, add):
    ids = app.enqueue_many(add, [("x" * n, "") for n in (1, 5_000, 2)])
    drain(app)
    assert [len(app.AsyncResult(id_).get(timeout=0)) for id_ in ids] == [1, 5_000, 2]
