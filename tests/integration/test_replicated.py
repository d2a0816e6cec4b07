"""`replicated=True`: a send returns when Litestream's control socket says that its commit is at the remote."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from liteq import LiteQ, Middleware, chain, group
from liteq.cli import main
from liteq.exceptions import ImproperlyConfigured, NotReplicated, StorageError, StorageUnavailable, WorkflowError

from .control_socket import ControlSocket, control_socket
from .runs import Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets in the file system")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/queue.db", set_as_current=False, replicated_timeout=0.1)
    app.storage.migrate()
    yield app
    app.close()


@pytest.fixture
def control(app: LiteQ, tmp_path: Path) -> Iterator[ControlSocket]:
    with control_socket(tmp_path / "queue.db") as control:
        app.conf.litestream_socket = str(control.path)
        yield control


@pytest.fixture
def add(app):
    return app.task(name="add")(lambda a, b=0: a + b)


@pytest.fixture
def pay(app):
    return app.task(name="pay", replicated=True)(lambda amount: amount)


def n(app: LiteQ) -> int:
    return sum(count.n for count in app.storage.reader.counts())


WAYS = {
    "delay": lambda app, add, pay: pay.delay(1),
    "a call": lambda app, add, pay: add.apply_async((1,), replicated=True),
    "by name": lambda app, add, pay: app.send_task("elsewhere", (1,), replicated=True),
    "under an id": lambda app, add, pay: pay.apply_async((1,), task_id="mine", idempotent=True),
    "a signature": lambda app, add, pay: add.si(1).set(replicated=True).delay(),
    "a chain": lambda app, add, pay: chain(add.si(1), add.si(2).set(replicated=True)).delay(),
    "a group": lambda app, add, pay: group(add.si(1), pay.si(2)).delay(),
    "bulk": lambda app, add, pay: app.enqueue_many(pay, [(1,), (2,)]),
    "bulk of signatures": lambda app, add, pay: app.enqueue_many([add.si(1), pay.si(2)]),
    "bulk of canvases": lambda app, add, pay: app.enqueue_many([add.si(1) | pay.si(2)]),
    "many": lambda app, add, pay: add.send_many([1, 2], replicated=True),
    "many by a name": lambda app, add, pay: pay.send_many([1, 2], name="march"),
    "awaited": lambda app, add, pay: asyncio.run(pay.adelay(1)),
    "awaited many": lambda app, add, pay: asyncio.run(pay.asend_many([1, 2])),
}


def test_each_way_of_sending_looks_before_and_asks_after_the_commit(app, control, add, pay):
    seen = [0]
    control.at_sync = lambda: seen.append(n(app))
    for way, send in WAYS.items():
        control.asked.clear()
        send(app, add, pay)
        assert control.paths == ["/list", "/sync"], way
        assert seen[-1] == n(app) > seen[-2], way
        assert control.asked[1][1] == {"path": app.storage.driver.where(), "wait": True, "timeout": 1}, way


def test_a_plain_call_asks_nobody(app, control, add, pay):
    add.delay(1)
    pay.apply_async((1,), replicated=False)
    assert control.asked == []
    assert n(app) == 2


def test_without_a_socket_nothing_is_written(app, add, pay):
    for send in WAYS.values():
        with pytest.raises(ImproperlyConfigured, match=r"litestream_socket.*nothing was sent.*liteq litestream --to"):
            send(app, add, pay)
    assert n(app) == 0


def test_where_nobody_answers_nothing_is_written(app, control, add, pay):
    app.conf.litestream_socket = str(control.path) + "-not"
    for send in WAYS.values():
        with pytest.raises(StorageUnavailable, match=r"no Litestream answers .*nothing was sent"):
            send(app, add, pay)
    assert n(app) == 0


def test_a_litestream_of_another_file_is_refused(app, control, pay):
    control.databases[0]["path"] = "/elsewhere.db"
    with pytest.raises(StorageUnavailable, match=r"copies /elsewhere.db, not .*queue.db, and nothing was sent"):
        pay.delay(1)
    control.databases[0].update(path=app.storage.driver.where(), status="stopped")
    with pytest.raises(StorageUnavailable, match=r"has stopped to copy .*litestream start"):
        pay.delay(1)
    control.databases = None
    with pytest.raises(StorageUnavailable, match="no control socket of Litestream"):
        pay.delay(1)
    assert n(app) == 0


def test_a_remote_that_lags_is_asked_again_for_this_commit_alone(app, control, pay):
    app.conf.replicated_timeout = 30
    control.syncs = [
        (200, {"txid": 9, "replicated_txid": 8}),
        (200, {"txid": 12, "replicated_txid": 9}),  # others write on: that is not waited for
        (200, {"txid": 12, "replicated_txid": 12}),
    ]
    pay.delay(1)
    assert control.paths.count("/sync") == 2


@pytest.mark.parametrize("trouble", [(500, {"error": "the remote is away"}), None], ids=["refused", "gone"])
def test_a_sync_that_fails_is_asked_for_again(app, control, pay, trouble):
    app.conf.replicated_timeout = 30
    control.syncs[:0] = [trouble]
    assert pay.delay(1).state == "PENDING"
    assert control.paths.count("/sync") == 2


def test_after_the_timeout_the_message_is_there_and_the_copy_unknown(app, control, pay):
    control.syncs = [(500, {"error": "the remote is away"})]
    with pytest.raises(NotReplicated, match=r"is in the file.*within 0.1 s.*the remote is away") as caught:
        pay.apply_async((1,), task_id="invoice-1", idempotent=True)
    assert isinstance(caught.value, StorageError)
    assert caught.value.ids == ["invoice-1"]
    assert n(app) == 1
    control.syncs = [(200, {"txid": 7, "replicated_txid": 7})]
    pay.apply_async((1,), task_id="invoice-1", idempotent=True)
    assert n(app) == 1


def test_an_answer_that_names_no_commit_is_no_copy(app, control, pay):
    control.syncs = [(200, {"status": "no_change"})]
    with pytest.raises(NotReplicated):
        pay.delay(1)


def test_a_generated_group_is_one_commit_that_is_waited_for(app, control, pay, monkeypatch):
    monkeypatch.setattr("liteq.sending.parts.PART_ROWS", 3)
    group(pay.si(k) for k in range(10)).delay()
    assert control.paths == ["/list", "/sync"]
    assert n(app) == 10


def test_a_misspelt_or_odd_option_is_refused(app, control, add):
    with pytest.raises(TypeError, match="did you mean 'replicated'"):
        add.apply_async((1,), replicatd=True)
    with pytest.raises(TypeError, match="replicated is True or False, not 'yes'"):
        add.apply_async((1,), replicated="yes")


def test_middleware_passes_it_on(app, control, pay):
    class Passes(Middleware):
        def on_publish(self, call, send):
            return send(call)

    app.middleware.add(Passes())
    pay.delay(1)
    assert control.paths == ["/list", "/sync"]


def test_what_is_run_here_waits_for_nothing(app, control, pay):
    app.conf.task_always_eager = True
    assert pay.delay(1).get() == 1
    assert control.asked == []


def test_a_transaction_of_another_database_is_refused(app, control, pay, monkeypatch):
    monkeypatch.setattr(app.storage, "takes_parts", lambda: False)
    with pytest.raises(ImproperlyConfigured, match="Nothing was sent; send it when the transaction has committed"):
        pay.delay(1)
    assert n(app) == 0


def test_a_workflows_body_does_not_wait(app, control, add):
    @app.workflow(name="flow")
    def flow():
        try:
            add.apply_async((1,), replicated=True)
        except WorkflowError as exc:
            return str(exc)

    run = flow.start()
    Worker(app).run()
    assert "a step may send with replicated=True" in run.result()


def test_beat_and_a_retry_wait_for_no_copy_and_say_so(app, control):
    app.conf.beat_schedule = {"nightly": {"task": "add", "schedule": 60, "options": {"replicated": True}}}
    with pytest.raises(ImproperlyConfigured, match=r"entry 'nightly' cannot be `replicated`"):
        app.schedules.configured()

    @app.task(bind=True, name="again")
    def again(self):
        try:
            self.retry(replicated=True)
        except TypeError as exc:
            return str(exc)

    result = again.delay()
    Worker(app).run()
    assert "waits for no copy" in result.get()


def test_the_doctor_asks_whether_it_could_wait(app, control):
    environment = {"LITEQ_LITESTREAM_SOCKET": str(control.path)}

    def told() -> dict[str, str]:
        done = CliRunner().invoke(main, ["-b", app.broker_url, "doctor", "--json"], env=environment)
        return next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "replication")

    assert told()["status"] == "ok"
    control.databases[0]["path"] = "/elsewhere.db"
    assert told()["status"] == "warning"
    assert "copies /elsewhere.db" in told()["detail"]
