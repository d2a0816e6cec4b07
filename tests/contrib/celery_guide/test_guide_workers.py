"""The guide's chapters on workers and on monitoring: remote control over the file, and the command line."""

from __future__ import annotations

import json
import threading

import pytest
from click.testing import CliRunner

from liteq.cli import main
from liteq.exceptions import TaskRevokedError

W = 60  # for one result, on a busy machine
NAME = "guide@test"


@pytest.fixture
def inspect(app, worker):
    return app.control.inspect(timeout=60)


@pytest.fixture
def held(app, worker, eventually):
    """A task that runs until the test ends; its result."""
    gate = threading.Event()
    name = "workers.held"
    task = app.tasks.get(name)
    if task is None:
        task = app.task(name=name)(lambda: task.gate.wait(W))
    object.__setattr__(task, "gate", gate)
    result = task.delay()
    eventually(lambda: any(one["id"] == result.id for one in app.control.inspect(timeout=60).active()[NAME]))
    yield result
    gate.set()
    result.get(timeout=W)


# -- remote control --------------------------------------------------------------------------------------------------


@pytest.mark.celery("Workers: control", "`app.control.ping()` and `inspect().ping()`")
def test_ping(app, inspect):
    assert app.control.ping(timeout=60) == [{NAME: {"ok": "pong"}}]
    assert inspect.ping() == {NAME: {"ok": "pong"}}


@pytest.mark.celery("Workers: control", "`destination=` asks some workers; none of that name: no answer")
def test_destination(app, worker):
    assert app.control.ping([NAME], timeout=60) == [{NAME: {"ok": "pong"}}]
    assert app.control.inspect(["nobody@nowhere"]).ping() is None


@pytest.mark.celery("Workers: control", "`broadcast(command, arguments, reply=True)`")
def test_broadcast(app, worker):
    assert app.control.broadcast("ping", reply=True, timeout=60) == [{NAME: {"ok": "pong"}}]


@pytest.mark.celery("Workers: control", "`revoke(id)`: a task that has not started never does")
def test_revoke(app, worker, add):
    result = add.apply_async((1, 1), countdown=600)
    app.control.revoke(result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=W)
    assert result.state == "REVOKED"


@pytest.mark.celery("Workers: control", "`result.revoke()`, and a list of ids")
def test_revoke_many(app, worker, add):
    results = [add.apply_async((1, 1), countdown=600) for _ in range(3)]
    results[0].revoke()
    app.control.revoke([result.id for result in results[1:]])
    for result in results:
        assert isinstance(result.get(timeout=W, propagate=False), TaskRevokedError)


@pytest.mark.celery("Workers: control", "What is revoked stays so when all workers restart",
                    differs="without a state file: it is in the queue's file")  # fmt: skip
def test_revoke_before(fresh):
    from liteq.testing import drain

    ran = []
    task = fresh.task(name="workers.revoked")(ran.append)
    result = task.delay(1)
    fresh.control.revoke(result.id)
    drain(fresh)
    assert (ran, result.state) == ([], "REVOKED")


@pytest.mark.celery("Workers: control", "`time_limit(task, soft=, hard=)` changes limits while workers run")
def test_time_limit(app, worker, add):
    (answer,) = app.control.time_limit("guide.add", soft=60, hard=120, reply=True, timeout=60)
    assert "ok" in answer[NAME]


@pytest.mark.celery("Workers: control", "`rate_limit(task, '200/m')`")
def test_rate_limit(app, worker, add):
    (answer,) = app.control.rate_limit("guide.add", "20000/s", reply=True, timeout=60)
    assert "ok" in answer[NAME]
    app.control.rate_limit("guide.add", 0, reply=True, timeout=60)


@pytest.mark.celery("Workers: control", "`add_consumer(queue)` and `cancel_consumer(queue)`; `active_queues`")
def test_consumers(app, inspect, add, eventually):
    assert "ok" in app.control.add_consumer("extra", reply=True, timeout=60)[0][NAME]
    assert {queue["name"] for queue in inspect.active_queues()[NAME]} == {"celery", "extra"}
    assert add.apply_async((1, 1), queue="extra").get(timeout=W) == 2
    assert "ok" in app.control.cancel_consumer("extra", reply=True, timeout=60)[0][NAME]
    assert {queue["name"] for queue in inspect.active_queues()[NAME]} == {"celery"}


@pytest.mark.celery("Workers: control", "`pool_grow(n)` and `pool_shrink(n)`")
def test_pool(app, inspect):
    size = inspect.stats()[NAME]["pool"]["max-concurrency"]
    app.control.pool_grow(1, reply=True, timeout=60)
    assert inspect.stats()[NAME]["pool"]["max-concurrency"] == size + 1
    app.control.pool_shrink(1, reply=True, timeout=60)
    assert inspect.stats()[NAME]["pool"]["max-concurrency"] == size


@pytest.mark.celery("Workers: control", "A control command of one's own, and an inspect command")
def test_own_command(app, worker):
    from liteq.worker.control.panel import control_command, inspect_command

    @control_command(args=[("n", int)], signature="[N=1]")
    def guide_double(state, n=1):
        return {"ok": 2 * n}

    @inspect_command()
    def guide_answer(state):
        return 42

    assert app.control.broadcast("guide_double", {"n": 4}, reply=True, timeout=60) == [{NAME: {"ok": 8}}]
    assert app.control.broadcast("guide_answer", reply=True, timeout=60) == [{NAME: 42}]


# -- inspect ---------------------------------------------------------------------------------------------------------


@pytest.mark.celery("Workers: inspect", "`registered()` lists the tasks")
def test_registered(inspect, add):
    assert any(line.split()[0] == "guide.add" for line in inspect.registered()[NAME])


@pytest.mark.celery("Workers: inspect", "`active()` lists what runs: id, name, args, kwargs, hostname, time_start")
def test_active(inspect, held):
    (one,) = inspect.active()[NAME]
    assert (one["id"], one["name"], one["hostname"]) == (held.id, "workers.held", NAME)
    assert {"args", "kwargs", "time_start", "worker_pid", "delivery_info"} <= one.keys()


@pytest.mark.celery("Workers: inspect", "`scheduled()` lists what waits for its eta")
def test_scheduled(app, inspect, add):
    result = add.apply_async((1, 1), countdown=600)
    assert result.id in {one["request"]["id"] for one in inspect.scheduled()[NAME]}
    result.revoke()


@pytest.mark.celery("Workers: inspect", "`reserved()`, `revoked()`, `active_queues()`, `conf()`, `report()`")
def test_others(inspect):
    assert isinstance(inspect.reserved()[NAME], list)
    assert NAME in inspect.revoked()
    assert [queue["name"] for queue in inspect.active_queues()[NAME]] == ["celery"]
    assert NAME in inspect.conf()
    assert "ok" in inspect.report()[NAME]


@pytest.mark.celery("Workers: inspect", "`stats()`: pid, uptime, pool, total of each task")
def test_stats(inspect, run, add):
    run(add, 1, 1)
    stats = inspect.stats()[NAME]
    assert {"pid", "uptime", "pool", "total", "rusage"} <= stats.keys()
    assert stats["total"]["guide.add"] >= 1


@pytest.mark.celery("Workers: inspect", "`query_task(id)` finds what a worker has")
def test_query_task(inspect, held):
    assert inspect.query_task(held.id)[NAME][held.id][0] == "active"


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(app, worker):
    def call(*words, code=0):
        from liteq.cli.parts.session import Session

        session = Session()
        session.app_name = app
        patience = ["-t", "60"] if words[0] in {"status", "inspect", "control"} else []
        result = CliRunner().invoke(main, [*words, *patience], obj=session)
        assert result.exit_code == code, result.output
        return result.output

    return call


@pytest.mark.celery("Monitoring: command line", "`status` lists the workers that answer")
def test_status(cli):
    assert NAME in cli("status")


@pytest.mark.celery(
    "Monitoring: command line", "`inspect ping`, `active`, `registered`, `stats`, `scheduled`, `reserved`; `--json`"
)
def test_cli_inspect(cli):
    assert "pong" in cli("inspect", "ping")
    assert NAME in cli("inspect", "active")  # a table of what runs; nothing does
    assert NAME in json.loads(cli("inspect", "--json", "active"))
    for command in (
        "scheduled",
        "reserved",
        "revoked",
        "registered",
        "stats",
        "report",
        "conf",
        "active_queues",
    ):
        assert NAME in cli("inspect", command)
    assert json.loads(cli("inspect", "--json", "ping"))[NAME] == {"ok": "pong"}


@pytest.mark.celery("Monitoring: command line", "`inspect ping -d NAME`: exit code 69 when nobody answers")
def test_cli_nobody(cli):
    said = cli("inspect", "ping", "-d", "nobody@nowhere", code=69)
    assert "unknown worker 'nobody@nowhere'" in said
    assert "No nodes replied within time constraint" in said


@pytest.mark.celery("Monitoring: command line", "`control rate_limit`, `time_limit`, `add_consumer`, `cancel_consumer`")
def test_cli_control(cli, add, monkeypatch):
    for limit in ("rate_limit", "soft_time_limit", "time_limit"):
        monkeypatch.setattr(add, limit, getattr(add, limit))  # as it was, afterwards
    assert "new rate limit set successfully" in cli("control", "rate_limit", "guide.add", "20000/s")
    assert "time limits set successfully" in cli("control", "time_limit", "guide.add", "30", "60")
    assert (add.rate_limit, add.soft_time_limit, add.time_limit) == ("20000/s", 30, 60)
    cli("control", "rate_limit", "guide.add", "0")
    cli("control", "add_consumer", "from-the-cli")
    assert "from-the-cli" in cli("inspect", "active_queues")
    cli("control", "cancel_consumer", "from-the-cli")
    assert "from-the-cli" not in cli("inspect", "active_queues")


@pytest.mark.celery("Monitoring: command line", "`call` and `result`")
def test_cli_call(cli, app, add):
    id_ = cli("call", "guide.add", "-a", "[2, 3]").strip()
    assert app.AsyncResult(id_).get(timeout=W) == 5
    assert "5" in cli("result", id_)


@pytest.mark.celery("Monitoring: command line", "`purge -Q` deletes what waits")
def test_cli_purge(cli, app, add):
    add.apply_async((1, 1), queue="to-be-purged")
    cli("purge", "-f", "-Q", "to-be-purged")
    assert not [n for n in app.storage.reader.counts() if n.queue == "to-be-purged" and n.state.value == "pending"]


@pytest.mark.celery("Monitoring: command line", "`report` tells versions and settings")
def test_cli_report(cli):
    assert "apsw" in cli("report")


@pytest.mark.celery("Monitoring: command line", "`amqp`, `graph`, `list`, `logtool`",
                    differs="not there; each says in a sentence what there is instead")  # fmt: skip
def test_cli_elsewhere():
    for command in ("amqp", "graph", "list", "logtool"):
        result = CliRunner().invoke(main, [command])
        assert result.exit_code == 2
        assert f"there is no `liteq {command}`" in result.output


WORKER_FLAGS = [
    "-n NAME", "-D", "-S state.db", "-l info", "-O fair", "--prefetch-multiplier 1", "--disable-prefetch", "-c 2",
    "-P threads", "-E", "--time-limit 9", "--soft-time-limit 8", "--max-tasks-per-child 9",
    "--pool-start-method fork", "--max-memory-per-child 99999", "--purge", "--discard", "-Q a,b", "-X b", "-I os",
    "--without-gossip", "--without-mingle", "--without-heartbeat", "--heartbeat-interval 3", "--autoscale 3,1", "-B",
    "-s schedule", "--scheduler x:Y", "-f worker.log", "--pidfile w.pid", "--uid 0", "--gid 0", "--umask 077",
    "--executable python", "--hostname NAME", "--detach", "--statedb x", "--loglevel info", "--optimization fair",
    "--concurrency 2", "--pool threads", "--task-events", "--events", "--queues a", "--exclude-queues b",
    "--include os", "--beat", "--schedule-filename x", "--schedule x", "--logfile x",
]  # fmt: skip
BEAT_FLAGS = [
    "--detach", "-s x", "--schedule x", "-S x:Y", "--scheduler x:Y", "--max-interval 5", "--enable-remote-control",
    "--no-enable-remote-control", "-n NAME", "--hostname NAME", "-l info", "--logfile x", "-f x", "--pidfile x",
    "--uid 0", "--gid 0", "--umask 077", "--executable python",
]  # fmt: skip


def parsed(command, words):
    import click

    group = main
    found = group.get_command(click.Context(group), command)
    return found.make_context(command, words, parent=click.Context(group), resilient_parsing=True)


@pytest.mark.celery("Workers: command line", "Every option of `celery worker` is taken")
def test_worker_flags():
    for flag in WORKER_FLAGS:
        assert parsed("worker", flag.split()).args == []


@pytest.mark.celery("Workers: command line", "Every option of `celery beat` is taken")
def test_beat_flags():
    for flag in BEAT_FLAGS:
        assert parsed("beat", flag.split()).args == []
