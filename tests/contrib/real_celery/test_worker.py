"""A worker of Celery's on a liteq file: what its tasks do on any broker, and what liteq shows of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from socket import gethostname
from typing import Any

import orjson
import pytest

from liteq.context.living import knowing, living
from liteq.monitor.tasks.why import explain
from liteq.states import State

from .shop import NEEDS_CELERY, Shop

pytestmark = NEEDS_CELERY


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.start("-E")
    shop.wait(lambda: " ready." in shop.log())  # remote control reaches those that listen already
    yield shop
    shop.close()


def test_a_result_is_the_row_and_liteq_reads_it_as_its_own(shop: Shop) -> None:
    result = shop.send("add", 2, 3)
    assert result.get(timeout=60) == 5
    assert (result.state, result.date_done is not None) == ("SUCCESS", True)
    assert shop.liteq.AsyncResult(result.id).get(timeout=60) == 5
    record = shop.record(result.id)
    assert (record.task, record.state, record.queue, record.payload) == (
        "shop.add",
        State.SUCCEEDED,
        "celery",
        b"[[2,3],{}]",
    )
    assert shop.send("late", 4, 5).get(timeout=60) == 9


SOLO = """
from types import SimpleNamespace
from celery import Celery
from celery.concurrency.solo import TaskPool
from liteq.exceptions import StorageError
from liteq_kombu.crossing import node

def version():
    print("looked")
    raise StorageError("it cannot be used here")

node.files["q.db"] = SimpleNamespace(storage=SimpleNamespace(driver=SimpleNamespace(version=version)))
TaskPool(app=Celery("shop"))
print("lives")
"""


def test_a_worker_whose_pool_is_its_own_process_does_not_end_for_another() -> None:
    done = subprocess.run([sys.executable, "-c", SOLO], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["looked", "lives"], done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at descriptors in /proc")
def test_a_process_of_the_pool_has_opened_the_file_before_its_first_task(tmp_path: Path) -> None:
    """A chain would wait for that once in each of them."""
    shop = Shop(tmp_path)
    shop.liteq.storage.migrate()  # else the process waits for no other that makes the file just now
    worker = shop.start(children=1)
    shop.wait(lambda: " ready." in shop.log())
    (child,) = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    fds = Path(f"/proc/{child}/fd")
    found = [str(shop.path) for _ in ("a reader", "a writer")]
    assert shop.wait(lambda: [link for one in list(fds.iterdir()) if (link := os.readlink(one)) == found[0]] >= found)
    shop.close()


def test_values_beyond_json_come_through_as_themselves(shop: Shop) -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert shop.send("add", [now], [Decimal("1.5")]).get(timeout=60) == [now, Decimal("1.5")]
    assert shop.send("add", 2**80, 1).get(timeout=60) == 2**80 + 1
    assert shop.send("add", "x" * 100_000, "y").get(timeout=60) == "x" * 100_000 + "y"


def test_an_error_comes_back_with_its_traceback_and_is_a_dead_letter(shop: Shop) -> None:
    result = shop.send("boom")
    with pytest.raises(KeyError, match="no such crate"):
        result.get(timeout=60)
    assert (result.state, "no such crate" in result.traceback) == ("FAILURE", True)
    assert shop.record(result.id).state is State.DEAD


def test_a_retry_is_the_same_row_again(shop: Shop) -> None:
    where = shop.folder / "flaky"
    result = shop.send("flaky", 2, str(where))
    assert result.get(timeout=60) == 2
    assert shop.lines("flaky") == ["0", "1", "2"]
    assert shop.record(result.id).retries == 2


def test_a_retry_keeps_what_liteq_alone_has_said_of_the_row(shop: Shop) -> None:
    where = str(shop.folder / "flaky-kept")
    options = {"fair_key": "a", "log_keep": 60}
    result = shop.liteq.send_task("shop.flaky", (1, where), **options)
    before = orjson.loads(shop.record(result.id).options)
    assert result.get(timeout=60) == 1
    after = orjson.loads(shop.record(result.id).options)
    assert {name: after.get(name) for name in ("keyed", "log_keep")} == {
        "keyed": {"fair_key": "a"}, "log_keep": 60_000,
    }  # fmt: skip
    assert before["log_keep"] == 60_000


def test_a_replacement_is_the_same_row_again(shop: Shop) -> None:
    result = shop.send("replaced", 0)
    assert result.get(timeout=60) == 3


def test_its_own_state_is_seen_while_it_runs(shop: Shop) -> None:
    go = shop.folder / "half-go"
    result = shop.send("half", str(go))
    shop.wait(lambda: result.state == "HALF")
    assert result.info == {"percent": 50}
    go.touch()
    assert result.get(timeout=60) == "whole"


def test_what_keeps_no_result_leaves_no_row(shop: Shop) -> None:
    result = shop.send("quiet", str(shop.folder / "quiet"), ignore_result=True)
    shop.wait(lambda: shop.lines("quiet") == ["ran"] and shop.record(result.id) is None)


def test_what_is_ignored_or_rejected_does_not_stay_leased(shop: Shop) -> None:
    ignored, rejected = shop.send("ignored"), shop.send("rejected", False)
    assert shop.wait(lambda: shop.record(ignored.id).has_ended)
    assert shop.record(ignored.id).state is State.CANCELLED
    assert shop.wait(lambda: shop.record(rejected.id).state is State.DEAD)


def test_an_unknown_task_is_a_dead_letter_that_says_so(shop: Shop) -> None:
    result = shop.send("nowhere")
    shop.wait(lambda: result.state == "FAILURE" and "nowhere" in str(result.result))


def test_a_worker_in_a_thread_tells_errbacks_too(tmp_path: Path) -> None:
    """It shows no banner, for which Celery's command makes the backend before it looks up its tasks."""
    other = Shop(tmp_path)
    try:
        said = other.command("embedded_shop").splitlines()
        assert said == ["liteq.errback", "['told of', 'broken']"]
        assert other.lines("told") == ["broken KeyError x"]  # called before the other was sent
        assert [one.id for one in other.liteq.storage.reader.messages(State.DEAD)] == ["broken"]
    finally:
        other.close()


def test_an_eta_waits_in_the_file(shop: Shop) -> None:
    before_ms = shop.liteq.clock.now_ms()
    result = shop.send("add", 1, 1, countdown=0.7)
    due_ms = shop.record(result.id).due_ms
    assert due_ms >= before_ms + 699  # an ETA is text, to the microsecond
    assert result.get(timeout=60) == 2
    assert shop.record(result.id).finished_ms >= due_ms


def test_canvases_run(shop: Shop) -> None:
    from celery import chain, chord, group

    steps = chain(shop.sig("add", 1, 2), shop.sig("add", 10), shop.sig("late", 100), app=shop.app)
    assert steps.delay().get(timeout=60) == 113
    many = group([shop.sig("add", n, n) for n in range(4)], app=shop.app).delay()
    assert many.get(timeout=60) == [0, 2, 4, 6]
    summed = chord([shop.sig("add", n, n) for n in range(3)], shop.sig("add", [9]), app=shop.app)
    assert summed.delay().get(timeout=60) == [0, 2, 4, 9]
    many.save()
    assert shop.app.GroupResult.restore(many.id).get(timeout=60) == [0, 2, 4, 6]


def test_the_rest_of_a_long_chain_is_kept_short(shop: Shop) -> None:
    """Celery repeats it in each link; a row is written anew whole as often as its state changes."""
    from celery import chain

    first = last = chain(shop.sig("add", 0, 1), *(shop.sig("add", 1) for _ in range(59)), app=shop.app).delay()
    assert last.get(timeout=60) == 60
    while first.parent is not None:
        first = first.parent
    options = shop.record(first.id).options
    assert options is not None
    assert len(options) < 4_000  # of 59 links, some 190 bytes each


def test_callbacks_and_errbacks_run(shop: Shop) -> None:
    linked = shop.send("add", 1, 1, link=shop.sig("add", 5, task_id="linked"))
    assert linked.get(timeout=60) == 2
    assert shop.app.AsyncResult("linked").get(timeout=60) == 7
    shop.send("boom", link_error=shop.sig("errback", task_id="told"), task_id="broken")
    assert shop.app.AsyncResult("told").get(timeout=60) == ["told of", "broken"]


def test_the_rest_of_a_broken_chain_has_failed(shop: Shop) -> None:
    from celery import chain

    last = chain(shop.sig("boom"), shop.sig("add", 1), shop.sig("add", 1), app=shop.app).delay()
    with pytest.raises(KeyError):
        last.get(timeout=60)
    shop.wait(lambda: last.parent.state == "FAILURE")


def test_a_group_at_the_end_of_a_broken_chain_has_failed(shop: Shop) -> None:
    from celery import chain, group

    within = chain(shop.sig("add", 1), shop.sig("add", 1), app=shop.app)
    members = group(shop.sig("add", 1), within, app=shop.app)
    for rest in ([members], [shop.sig("same"), members], [group(shop.sig("add", 1), app=shop.app), members]):
        with pytest.raises(KeyError):
            chain(shop.sig("boom"), *rest, app=shop.app).delay().get(timeout=60)


def test_a_request_is_what_its_sender_said(shop: Shop) -> None:
    options = {"priority": 4, "headers": {"who": "ann"}, "time_limit": 30, "soft_time_limit": 20}
    result = shop.send("seen", **options)
    seen = result.get(timeout=60)
    assert (seen["id"], seen["queue"], seen["priority"], seen["who"]) == (result.id, "celery", 4, "ann")
    assert (seen["timelimit"], seen["redelivered"], seen["root"]) == ([30, 20], False, result.id)


def test_a_task_that_expired_does_not_run(shop: Shop) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    result = shop.send("quiet", str(shop.folder / "expired"), expires=past, ignore_result=False)
    shop.wait(lambda: result.state == "REVOKED")
    assert shop.lines("expired") == []


def test_a_liteq_worker_runs_what_celery_sent_and_celery_what_liteq_sent(shop: Shop, tmp_path: Path) -> None:
    from liteq.testing import drain

    other = Shop(tmp_path)

    @other.liteq.task(name="shop.add")
    def add(a: int, b: int) -> int:
        return a + b

    try:
        result = other.send("add", 20, 3, expires=60)
        drain(other.liteq)
        assert result.get(timeout=60) == 23
    finally:
        other.close()
    sent = shop.liteq.send_task("shop.add", (4, 4))
    assert sent.get(timeout=60) == 8
    from liteq import chain as liteq_chain

    steps = liteq_chain(
        shop.liteq.signature("shop.add", (1, 1)), shop.liteq.signature("shop.late", (10,)), app=shop.liteq
    )
    assert steps.delay().get(timeout=60) == 12


def test_a_call_is_begun_by_its_ring(tmp_path: Path) -> None:
    """The net behind the bell is wider here than the wait for a result."""
    shop = Shop(tmp_path, polling_interval=90)
    try:
        shop.start(children=1)
        for n in range(5):
            assert shop.send("add", n, n).get(timeout=60) == 2 * n
    finally:
        shop.close()


def test_control_and_inspect_reach_every_worker(shop: Shop) -> None:
    inspect = shop.app.control.inspect(timeout=60, limit=1)
    assert [list(one.values()) for one in shop.app.control.ping(timeout=60, limit=1)] == [[{"ok": "pong"}]]
    (name,) = inspect.ping()
    assert "shop.add" in inspect.registered()[name]
    assert [queue["name"] for queue in inspect.active_queues()[name]] == ["celery"]


def test_a_revoke_cancels_what_waits_and_stays_in_the_file(shop: Shop) -> None:
    waiting = shop.send("add", 1, 1, countdown=60)
    waiting.revoke()
    assert shop.record(waiting.id).state is State.CANCELLED
    assert waiting.state == "REVOKED"


def test_a_running_task_is_terminated_by_a_revoke(shop: Shop) -> None:
    result = shop.send("held", str(shop.folder / "revoked-began"), str(shop.folder / "never"))
    shop.wait(lambda: shop.lines("revoked-began"))
    result.revoke(terminate=True, signal="SIGKILL")
    shop.wait(lambda: result.state == "REVOKED")
    assert shop.wait(lambda: shop.record(result.id).state is State.CANCELLED)


def test_a_listener_to_events_looks_for_them_each_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They ring no bell; by the net alone they would come after ninety seconds."""
    from liteq_kombu.waking import Ear

    class Sleeps(Exception):
        """Raised in the place of a sleep, with its seconds."""

    def sleeps(_self: Ear, seconds: float) -> None:
        raise Sleeps(seconds)

    monkeypatch.setattr(Ear, "wait", sleeps)
    shop = Shop(tmp_path, polling_interval=90)
    try:
        with shop.app.connection() as connection:
            with connection.SimpleQueue("letters") as letters, pytest.raises(Sleeps) as of_another:
                letters.get(timeout=60)
            with shop.app.events.Receiver(connection).consumer_context() as (listening, _, _):
                with pytest.raises(Sleeps) as of_events:
                    while True:
                        listening.drain_events(timeout=60)
    finally:
        shop.close()
    assert of_events.value.args[0] <= 1.0 < of_another.value.args[0]


def test_events_reach_a_listener(shop: Shop) -> None:
    seen: list[str] = []
    with shop.app.connection() as connection:
        receiver = shop.app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        with receiver.consumer_context() as (listening, _, _):
            assert shop.send("add", 1, 1).get(timeout=60) == 2
            while "task-succeeded" not in seen:
                listening.drain_events(timeout=60)
    assert {"task-received", "task-started", "task-succeeded"} <= set(seen)


def test_the_results_that_a_task_has_made_are_its_children(shop: Shop) -> None:
    linked = shop.send("add", 1, 1, link=shop.sig("add", 5, task_id="child"))
    assert linked.get(timeout=60) == 2
    assert [child.id for child in linked.children] == ["child"]
    assert [value for _, value in linked.collect()] == [2, 7]


def test_liteq_s_tools_show_celery_s_tasks(shop: Shop) -> None:
    result, broken = shop.send("late", 6, 6), shop.send("boom")
    assert result.get(timeout=60) == 12
    shop.wait(broken.ready)

    def said(*command: str) -> str:
        line = [sys.executable, "-m", "liteq", "-b", f"sqlite:///{shop.path}", *command]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=shop.folder).stdout

    assert said("result", result.id).strip() == "12"
    assert broken.id in said("dead", "list")
    assert "no such crate" in said("why", broken.id)
    shop.wait(lambda: ("shop.late", "celery", "succeeded") in totals(shop))
    worker = shop.liteq.storage.reader.workers()[0]
    assert worker.identity.name == f"w0@{gethostname()}"


def test_liteq_says_what_is_true_of_what_did_not_run(shop: Shop) -> None:
    broken = (shop.sig("boom") | shop.sig("add", 1)).apply_async()
    ran, expired = shop.send("late", 1, 1), shop.send("late", 1, 1, expires=0.001)
    for result in (broken, ran, expired):
        shop.wait(result.ready)
    why = explain(shop.liteq, broken.id)
    assert why is not None
    assert why["text"] == f"It did not run, because shop.boom ({broken.parent.id}) is dead: KeyError: 'no such crate'."
    assert shop.record(ran.id).started_ms is not None
    assert shop.liteq.storage.attempts(expired.id) == []  # it never began


def totals(shop: Shop) -> list[tuple[str, str, str]]:
    return [(one.task, one.queue, one.outcome) for one in shop.liteq.storage.stats.totals()]


def test_a_liteq_worker_leaves_what_it_does_not_know_to_a_busy_worker_of_celery_s(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.env["SHOP_PATIENCE"] = "0"
    began, go = tmp_path / "began", tmp_path / "go"
    try:
        shop.start(children=1, SHOP_PREFETCH="1")
        shop.send("held", str(began), str(go))
        shop.wait(lambda: shop.lines("began"))
        shop.start_liteq()
        behind = shop.send("add", 1, 1)
        shop.wait(lambda: "waits for worker w0@" in shop.log(1))
        go.touch()
        assert behind.get(timeout=60) == 2
    finally:
        shop.close()


def test_a_worker_of_celery_s_leaves_what_it_does_not_know_to_one_of_liteq_s_while_it_lives(shop: Shop) -> None:
    worker, sent = shop.start_liteq(), list[Any]()
    shop.wait(lambda: knowing(living(shop.liteq), "celery", "shop.moved", but=None))

    def is_left() -> bool:
        sent.append(shop.send("moved", len(sent)))
        return "is not known here: it is left to worker" in shop.log(0)

    shop.wait(is_left)
    assert [one.get(timeout=60) for one in sent] == list(range(len(sent)))
    worker.terminate()
    worker.wait(60)
    alone = shop.send("moved", 0)
    shop.wait(lambda: alone.state == "FAILURE" and "moved" in str(alone.result))


def test_what_waits_at_another_broker_moves_over(shop: Shop) -> None:
    from celery import Celery, chain
    from celery.contrib.migrate import migrate_tasks
    from kombu import Connection

    before = Celery("before", broker="memory://", set_as_current=False)

    def sig(*args: int) -> Any:
        return before.signature("shop.add", args)

    sent = [sig(1, 2).apply_async(), sig(3, 4).apply_async(countdown=1), chain(sig(5, 6), sig(7), app=before).delay()]
    with before.connection() as source, Connection(shop.url, transport_options=shop.options) as target:
        migrate_tasks(source, target, app=before, limit=len(sent), timeout=60, ack_messages=True)
        assert source.default_channel.queue_declare("celery", passive=True).message_count == 0
    assert [shop.app.AsyncResult(one.id).get(timeout=60) for one in sent] == [3, 7, 18]


def test_a_task_of_a_queue_without_acks_runs_and_has_a_result(shop: Shop) -> None:
    shop.start("-Q", "swift", pool="solo", SHOP_WITHOUT_ACKS="1")
    assert shop.send("add", 1, 2, queue="swift").get(timeout=60) == 3
