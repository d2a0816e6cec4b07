"""Remote control of a worker that lives, here in a thread of this process, over a real file."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from liteq import LiteQ
from liteq.cli import main
from liteq.context import identity
from liteq.context.living import living
from liteq.exceptions import TaskRevokedError, WorkerShutdown
from liteq.signals import worker_ready
from liteq.testing import start_worker
from liteq.worker.control.panel import COMMANDS, control_command


def eventually(fact, within_s=60.0):
    give_up = time.monotonic() + within_s
    while not (value := fact()):
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.005)
    return value


@pytest.fixture
def app(tmp_path):
    app = LiteQ("control", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.gate, app.entered = threading.Event(), threading.Event()

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="hold", bind=True, max_retries=5)
    def hold(self, retry=False):
        app.entered.set()
        assert app.gate.wait(120)
        if retry:
            raise self.retry(countdown=0)

    yield app
    app.gate.set()
    app.close()


@pytest.fixture
def worker(app):
    with start_worker(app, pool="threads", concurrency=2, hostname="one@here", queues=["celery"]) as worker:
        yield worker
        app.gate.set()


@pytest.fixture
def inspect(app, worker):
    return app.control.inspect(timeout=60)


def test_nobody_lives_nobody_answers_at_once(app):
    before = time.monotonic()
    assert app.control.ping(timeout=60) == []
    assert app.control.inspect(timeout=60).active() is None
    assert time.monotonic() - before < 30, "of the 60 s that an answer may take"


def test_nobody_waits_for_a_worker_whose_process_is_gone(app, worker):
    gone = replace(identity.me("gone@here"), pid=2**22 - 1, started="1")
    app.storage.register_worker(gone)
    before = time.monotonic()
    assert app.control.ping(timeout=60) == [{"one@here": {"ok": "pong"}}]
    assert app.control.ping(["gone@here"], timeout=60) == []
    assert time.monotonic() - before < 30, "of the 60 s that an answer may take"
    assert [one.name for one in living(app)] == ["one@here"]


def test_ping(app, worker):
    before = time.monotonic()
    assert app.control.ping(timeout=60) == [{"one@here": {"ok": "pong"}}]
    assert time.monotonic() - before < 30, "answers are not waited for longer than they take"
    assert app.control.inspect("one@here", timeout=60).ping() == {"ok": "pong"}
    assert app.control.ping(["another@here"], timeout=60) == []
    assert app.control.ping(pattern="one@*", timeout=60) == [{"one@here": {"ok": "pong"}}]
    assert app.control.ping(pattern="one@h", matcher="pcre", timeout=60) == [{"one@here": {"ok": "pong"}}]
    assert app.control.ping(pattern="ne@here", matcher="pcre") == []  # as in Celery, it fits from the beginning


def test_every_worker_that_lives_answers(app, worker):
    with start_worker(app, hostname="two@here"):
        answers = app.control.ping(timeout=60)
    assert sorted(name for answer in answers for name in answer) == ["one@here", "two@here"]


def test_a_misspelt_worker_is_named_with_the_nearest(app, worker):
    done = CliRunner().invoke(main, ["-b", app.conf.broker_url, "inspect", "ping", "-d", "oen@here"])
    assert done.exit_code == 69
    assert "unknown worker 'oen@here'; nearest: 'one@here'" in done.stderr


def test_what_runs_and_what_waits(app, worker, inspect):
    running = app.tasks["hold"].delay()
    assert app.entered.wait(60)
    later = app.tasks["add"].apply_async((1, 2), countdown=60, priority=3)
    [found] = inspect.active()["one@here"]
    assert (found["id"], found["name"], found["args"], found["kwargs"]) == (running.id, "hold", [], {})
    assert found["time_start"] <= time.time()
    [waiting] = inspect.scheduled()["one@here"]
    assert waiting["request"]["id"] == later.id
    assert waiting["priority"] == 3
    assert inspect.reserved() == {"one@here": []}
    assert inspect.query_task(running.id)["one@here"][running.id][0] == "active"
    assert inspect.query_task([later.id])["one@here"][later.id][0] == "scheduled"
    assert inspect.query_task(["unheard-of"]) == {"one@here": {}}


def test_what_waits_in_other_queues_hides_nothing(app, worker, inspect):
    add = app.tasks["add"]
    app.enqueue_many([add.s(n, 0).set(queue="other", countdown=60) for n in range(1_001)])
    later = add.apply_async((1, 2), countdown=3600)
    [waiting] = inspect.scheduled()["one@here"]
    assert waiting["request"]["id"] == later.id


def test_what_a_worker_is(app, worker, inspect):
    app.tasks["add"].delay(1, 2).get(timeout=60)
    assert {"add", "hold"} <= set(inspect.registered()["one@here"])
    assert {"add [max_retries=3]", "hold [max_retries=5]"} <= set(inspect.registered("max_retries")["one@here"])
    stats = inspect.stats()["one@here"]
    assert stats["total"] == {"add": 1}
    assert stats["pool"]["max-concurrency"] == 2
    assert inspect.conf()["one@here"]["broker_url"] == app.broker_url
    assert "liteq" in inspect.report()["one@here"]["ok"]
    assert inspect.clock()["one@here"]["clock"] > 0
    assert [queue["name"] for queue in inspect.active_queues()["one@here"]] == ["celery"]


def test_queues_come_and_go(app, worker, inspect):
    app.control.add_consumer("reports", reply=True, timeout=60)
    assert app.tasks["add"].apply_async((1, 2), queue="reports").get(timeout=60) == 3
    [answer] = app.control.cancel_consumer("reports", reply=True, timeout=60)
    assert answer == {"one@here": {"ok": "no longer consuming from reports"}}
    assert [queue["name"] for queue in inspect.active_queues()["one@here"]] == ["celery"]


def test_the_pool_grows_and_shrinks(app, worker, inspect):
    app.control.pool_grow(2, reply=True, timeout=60)
    assert inspect.stats()["one@here"]["pool"]["max-concurrency"] == 4
    app.control.pool_shrink(3, reply=True, timeout=60)
    assert inspect.stats()["one@here"]["pool"]["max-concurrency"] == 1


def test_a_message_that_has_come_back_to_the_queue_is_cancelled_there(app, worker):
    """The caller found it running; the worker has given it back before it read the command."""
    sent = app.send_task("add", (1, 2), queue="elsewhere")
    app.control.broadcast("revoke", {"task_id": sent.id}, reply=True, timeout=60)
    assert sent.state == "REVOKED"


def test_a_message_imports_no_module_unless_the_settings_allow_it(app, worker, tmp_path, monkeypatch):
    (tmp_path / "sent_by_a_row.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    def restart() -> dict[str, object]:
        ((_, answer),) = app.control.pool_restart(["sent_by_a_row"], reply=True, timeout=60)[0].items()
        return answer

    assert "worker_pool_restarts" in restart()["error"]
    assert "sent_by_a_row" not in sys.modules
    app.conf.worker_pool_restarts = True
    assert restart() == {"ok": "reload started"}
    assert "sent_by_a_row" in sys.modules
    del sys.modules["sent_by_a_row"]


def test_what_there_is_not_says_so(app, worker):
    for answer in (
        app.control.autoscale(4, 1, reply=True, timeout=60),
        app.control.broadcast("no_such_thing", reply=True, timeout=60),
        app.control.time_limit("no.such.task", 1, 2, reply=True, timeout=60),
        app.control.rate_limit("add", "ten", reply=True, timeout=60),
    ):
        assert "error" in answer[0]["one@here"]


def test_a_command_of_ones_own(app, worker):
    @control_command(args=[("n", int)])
    def double(state, n):
        return {"ok": n * 2, "by": state.hostname}

    @control_command
    def trip(state):
        raise RuntimeError("it tripped")

    try:
        answers = app.control.broadcast("double", {"n": 4}, reply=True, timeout=60)
        assert answers == [{"one@here": {"ok": 8, "by": "one@here"}}]
        [failed] = app.control.broadcast("trip", reply=True, timeout=60)
        assert "it tripped" in failed["one@here"]["error"]
    finally:
        del COMMANDS["double"], COMMANDS["trip"]


def test_shutdown(app):
    with start_worker(app, hostname="one@here") as worker:
        app.control.shutdown(["one@here"])
        assert worker.join(60)


def test_a_command_or_a_receiver_may_end_the_worker(app):
    @control_command
    def go_home(state):
        raise WorkerShutdown(0)

    try:
        with start_worker(app) as worker:
            app.control.broadcast("go_home")
            assert worker.join(60)
    finally:
        del COMMANDS["go_home"]

    def leave(**_):
        raise WorkerShutdown(0)

    worker_ready.connect(leave)
    try:
        assert app.Worker(pool="threads").run() == 0
    finally:
        worker_ready.disconnect(leave)


def test_messages_are_revoked_by_their_stamps_over_restarts(app):
    app.control.revoke_by_stamped_headers({"customer": ["a", "b"]})
    with start_worker(app, hostname="w@here"):
        sent = {
            name: app.tasks["add"].apply_async((1, 2), customer=name, stamped_headers=["customer"]) for name in "abc"
        }
        for name in "ab":
            with pytest.raises(TaskRevokedError):
                sent[name].get(timeout=60)
        assert sent["c"].get(timeout=60) == 3


def test_what_is_revoked_before_it_is_sent_does_not_run_however_soon_it_is_sent(app, worker):
    sent = []
    for n in range(20):
        app.control.revoke_by_stamped_headers({"round": str(n)})
        sent.append(app.tasks["add"].apply_async((1, 2), round=str(n), stamped_headers=["round"]))
    for result in sent:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=60)


def test_one_worker_is_elected(app):
    with start_worker(app, hostname="a@here"), start_worker(app, hostname="b@here"):
        app.control.election("e1", "task", app.tasks["add"].s(1, 2))
        pongs = app.control.broadcast("ping", reply=True, timeout=60, limit=2)
        assert len(pongs) == 2, "both have met the election, which came before"
        assert sum(c.n for c in app.storage.reader.counts()) == 1


def test_memory(app, worker, inspect):
    assert inspect.memsample()["one@here"].endswith("MB")
    assert inspect.memdump()["one@here"].endswith("MB")


def test_a_worker_that_was_told_not_to_answer_does_not(app):
    app.conf.worker_enable_remote_control = False
    with start_worker(app, perform_ping_check=False):
        assert app.control.ping(timeout=0.2) == []


# -- revoke ----------------------------------------------------------------------------------------------------------


def test_what_waits_is_cancelled_without_any_worker(app):
    waiting = [app.tasks["add"].delay(1, 2), app.tasks["add"].apply_async((1, 2), countdown=60)]
    app.control.revoke([result.id for result in waiting])
    for result in waiting:
        assert result.state == "REVOKED"
        with pytest.raises(TaskRevokedError):
            result.get(timeout=1)


def test_an_id_that_nobody_knows_yet_is_not_run_when_it_comes(app, worker, inspect):
    app.control.revoke("to-come", reply=True, timeout=60)
    assert inspect.revoked() == {"one@here": ["to-come"]}
    late = app.tasks["add"].apply_async((1, 2), task_id="to-come")
    with pytest.raises(TaskRevokedError):
        late.get(timeout=60)
    assert app.tasks["add"].delay(1, 2).get(timeout=60) == 3


def test_a_revoke_survives_a_restart_of_all_workers(app):
    app.control.revoke("to-come")
    with start_worker(app):
        late = app.tasks["add"].apply_async((1, 2), task_id="to-come")
        with pytest.raises(TaskRevokedError):
            late.get(timeout=60)


def test_what_runs_ends_but_is_not_retried(app, worker):
    running = app.tasks["hold"].delay(retry=True)
    assert app.entered.wait(60)
    app.control.revoke(running.id, reply=True, timeout=60)
    app.gate.set()
    with pytest.raises(TaskRevokedError):
        running.get(timeout=60)


def test_threads_cannot_be_terminated_and_that_is_said(app, worker):
    running = app.tasks["hold"].delay()
    assert app.entered.wait(60)
    [answer] = app.control.terminate(running.id, reply=True, timeout=60)
    assert "prefork" in answer["one@here"]["error"]


def test_a_revoked_message_is_told_to_who_listens(app, worker):
    from liteq.signals import task_revoked

    heard = []

    def listen(sender, request, terminated, signum, expired, **_):
        heard.append((sender.name, request.id, terminated, expired))

    task_revoked.connect(listen)
    try:
        app.control.revoke("to-come", reply=True, timeout=60)
        app.tasks["add"].apply_async((1, 2), task_id="to-come")
        assert eventually(lambda: heard) == [("add", "to-come", False, False)]
    finally:
        task_revoked.disconnect(listen)


def test_a_worker_logs_from_another_level_on(app, worker):
    root = logging.getLogger()
    before = root.level
    try:
        (answer,) = app.control.broadcast("log_level", {"level": "error"}, reply=True, timeout=60)
        assert answer == {"one@here": {"ok": "logs from ERROR on"}}
        assert root.level == logging.ERROR
        (refused,) = app.control.broadcast("log_level", {"level": "loud"}, reply=True, timeout=60)
        assert "use DEBUG, INFO" in refused["one@here"]["error"]
        assert root.level == logging.ERROR
    finally:
        root.setLevel(before)


def test_commands_are_heard_in_a_file_that_was_made_anew(app):
    """Their numbers begin again there."""
    app.conf.update(visibility_timeout=1.0)
    with start_worker(app, pool="threads", concurrency=1, hostname="one@here"):
        app.control.ping(timeout=60)
        with app.storage.driver.write() as tx:
            tx.execute("UPDATE sqlite_sequence SET seq = 100000 WHERE name = 'liteq_commands'")
        assert app.control.ping(timeout=60) == [{"one@here": {"ok": "pong"}}]
        with app.storage.driver.write() as tx:
            for table in ("liteq_replies", "liteq_commands", "liteq_workers"):
                tx.execute(f"DELETE FROM {table}")
            tx.execute("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'liteq_commands'")
        eventually(lambda: app.control.ping(timeout=1))
