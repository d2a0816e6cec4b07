"""Links that Celery's senders embed in a message: a liteq worker writes it behind that message, once, and runs it."""

from __future__ import annotations

import binascii
import zlib

import orjson
import pytest

from liteq import LiteQ, chord, group
from liteq.message import Ack, Batch, Message, Release, WorkerIdentity, new_id
from liteq.serialization import embedded, encode
from liteq.states import State
from liteq.storage.settling.telling import ERRBACK, errback_id
from liteq.testing import FakeClock, drain
from liteq.worker.pool.executor import Executor


@pytest.fixture(params=["as it is", "deflated"], autouse=True)
def form(request, monkeypatch):
    """How it stands in the options: a long rest of a chain is deflated."""
    if request.param == "deflated":
        monkeypatch.setattr(embedded, "LONG", 0)


@pytest.fixture
def app(tmp_path):
    app = LiteQ("embedded", broker=f"sqlite:///{tmp_path}/q.db", clock=FakeClock(), set_as_current=False)
    app.ran = []

    @app.task(name="add")
    def add(x, y=1):
        app.ran.append(x + y)
        return x + y

    @app.task(name="total")
    def total(values):
        app.ran.append(values)
        return values

    @app.task(name="bad")
    def bad(*_):
        raise ValueError("no")

    @app.task(name="report")
    def report(id_):
        app.ran.append(id_)

    app.storage.migrate()
    yield app
    app.close()


def send(app, name="add", args=(1,), **embed):
    """A message as contrib/liteq_kombu writes it; its id."""
    told = embedded.packed(orjson.loads(encode(embed, what="embed")))
    options = encode({"celery": {"embed": told}}, what="options")
    (id_,) = app.storage.enqueue(Batch([Message(new_id(), name, encode([list(args), {}], what="a"), options=options)]))
    return id_


def sig(app, name, *args, id_=None, **options):
    made = app.signature(name, args)
    return {**dict(made), "options": {**options, **({} if id_ is None else {"task_id": id_})}}


def state(app, id_):
    record = app.storage.reader.find(id_)
    return None if record is None else record.state


def test_the_rest_of_a_chain_runs_under_the_ids_that_were_told(app):
    first, last = new_id(), new_id()
    id_ = send(app, chain=[sig(app, "total", id_=last), sig(app, "add", 10, id_=first)])
    drain(app)
    assert app.ran == [2, 12, 12]
    record = app.storage.reader.find(last)
    assert (record.state, record.root_id, record.parent_id) == (State.SUCCEEDED, id_, first)


def test_callbacks_run_with_the_result_and_errbacks_vanish(app):
    send(app, callbacks=[sig(app, "add", 5)], errbacks=[sig(app, "report")])
    drain(app)
    assert app.ran == [2, 7]


def test_errbacks_run_and_the_rest_of_the_chain_fails(app):
    rest = new_id()
    id_ = send(app, "bad", errbacks=[sig(app, "report")], chain=[sig(app, "add", id_=rest)])
    drain(app)
    assert app.ran == [id_]
    assert state(app, rest) is State.UPSTREAM_FAILED


def test_a_chain_goes_on_with_a_chord(app):
    step = chord(group(app.signature("add", (n,)) for n in (10, 20)), app.signature("total"), app=app)
    send(app, chain=[dict(step)])
    drain(app)
    assert app.ran[-1] == [12, 22]


def run_once(app, lease):
    outcome, _ = Executor(app, hostname="h").run(lease)
    return outcome


def test_a_second_run_writes_nothing_twice(app):
    """Not even what has no id of its own."""
    send(app, callbacks=[sig(app, "add", 5)], errbacks=[sig(app, "report")], chain=[sig(app, "total")])
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    for _ in range(3):
        (lease,) = app.storage.claim(["celery"], worker=number, limit=5, visibility_s=60)
        assert isinstance(run_once(app, lease), Ack)
        assert sum(count.n for count in app.storage.reader.counts()) == 4
        app.storage.reap([number])
    drain(app)
    assert sorted(app.ran[3:], key=str) == [2, 2, 7]


def test_errbacks_run_where_the_worker_vanishes_for_good(app):
    id_ = send(app, errbacks=[sig(app, "report")])
    number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    (lease,) = app.storage.claim(["celery"], worker=number, limit=5, visibility_s=60)
    run_once(app, lease)
    app.storage.leases.begin([lease])
    app.storage.reap([number])
    drain(app)
    assert app.ran == [2, id_]


def test_word_is_left_where_a_message_ends_that_no_worker_has_seen(app):
    id_ = send(app, errbacks=[sig(app, "report")])
    for _ in range(app.conf.max_crashes):
        number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
        (lease,) = app.storage.claim(["celery"], worker=number, limit=5, visibility_s=60)
        app.storage.settle([(lease, Release(crashed=True))])
    assert state(app, id_) is State.DEAD
    assert app.storage.reader.find(errback_id(id_)).task == ERRBACK


LIST = binascii.b2a_base64(zlib.compress(b"[]"), newline=False).decode()


@pytest.mark.parametrize("cut", [lambda text: text[:-8], lambda _: "no base64", lambda _: 7, lambda _: LIST])
def test_what_cannot_be_inflated_fails_with_the_reason(app, cut):
    embed = embedded.packed({"chain": ["x" * embedded.LONG]})
    options = encode({"celery": {"embed": {"zlib": cut(embed["zlib"])}}}, what="options")
    payload = encode([[1], {}], what="a")
    (id_,) = app.storage.enqueue(Batch([Message(new_id(), "add", payload, options=options)]))
    drain(app)
    assert app.ran == []
    record = app.storage.reader.find(id_)
    assert record.state is State.DEAD
    assert "the links in a message of Celery's" in record.error.decode()


def test_no_word_is_left_for_what_cannot_be_inflated(app):
    options = encode({"celery": {"embed": {"zlib": LIST}}}, what="options")
    payload = encode([[1], {}], what="a")
    (id_,) = app.storage.enqueue(Batch([Message(new_id(), "add", payload, options=options)]))
    for _ in range(app.conf.max_crashes):
        number = app.storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
        (lease,) = app.storage.claim(["celery"], worker=number, limit=5, visibility_s=60)
        app.storage.settle([(lease, Release(crashed=True))])
    assert (state(app, id_), state(app, errback_id(id_))) == (State.DEAD, None)


@pytest.mark.parametrize(
    ("embed", "why"),
    [
        ({"chain": ["x"]}, "no signature: 'x'"),
        ({"chord": {"task": "total"}}, "a member of a chord that this queue does not have"),
    ],
)
def test_what_cannot_be_written_is_not_dropped(app, embed, why):
    id_ = send(app, **embed)
    drain(app)
    assert app.ran == []
    record = app.storage.reader.find(id_)
    assert record.state is State.DEAD
    assert why in record.error.decode()
