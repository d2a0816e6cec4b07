"""Why a task is as it is: each reason, with a sentence and the facts behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from liteq import LiteQ
from liteq.canvas import chain, chord, group
from liteq.context import identity
from liteq.context.unknown import left_to_others
from liteq.monitor.access.sight import Sight
from liteq.monitor.findings import findings
from liteq.monitor.runs.runs import waiting_line
from liteq.monitor.runs.workflows import workflow
from liteq.monitor.tasks.tasks import task, tasks
from liteq.monitor.tasks.why import REASONS, explain
from liteq.result.waiting import why_waiting
from liteq.testing import FakeClock, drain
from liteq.worker.apart import put_off_unopened
from liteq.workflow import ctx

from ..codecs import Backwards


@pytest.fixture
def app(tmp_path) -> Iterator[LiteQ]:
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/shop.db", clock=FakeClock())

    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="shop.pay", sensitive=["card"], max_retries=2)
    def pay(card: str) -> None:
        raise ValueError(f"{card} declined")

    @app.task(name="shop.again", bind=True, max_retries=5)
    def again(self: Any) -> None:
        raise self.retry(exc=KeyError("later"), countdown=30)

    yield app
    app.close()


@pytest.fixture
def live(app) -> Callable[..., int]:
    """A living worker of this process, by what it tells of itself."""

    def enter(**facts: Any) -> int:
        told = {"queues": ["celery"], "tasks": ["shop.add", "shop.pay", "shop.again"], "concurrency": 2, **facts}
        return app.storage.register_worker(identity.me("liteq@here"), orjson.dumps(told))

    return enter


def add(app: LiteQ, **options: Any) -> str:
    return app.tasks["shop.add"].apply_async((1, 2), **options).id


def why(app: LiteQ, id_: str) -> tuple[str, str]:
    found = explain(app, id_)
    assert found["id"] == id_
    assert found["reason"] in REASONS
    return found["reason"], found["text"]


def test_a_worker_that_lacks_the_key_of_a_message_is_why_it_waits(tmp_path):
    def opened(key: str, *known: str) -> LiteQ:
        codec = Backwards(key, known or (key,))
        return LiteQ("shop", broker=f"sqlite:///{tmp_path}/sealed.db", payload_codec=codec, set_as_current=False)

    with opened("k2", "k1", "k2") as sender, opened("k1") as stale:
        sent = sender.send_task("shop.add", (1, "x" * 2_000))  # it stands beside its row
        worker = stale.storage.register_worker(
            identity.me("stale@here"), orjson.dumps({"queues": ["celery"], "tasks": ["shop.add"]})
        )
        (lease,) = stale.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
        (put_off,) = put_off_unopened([stale.storage.reader.with_payload(lease)])
        stale.storage.settle([put_off])
        for app in (sender, stale):  # one that has the key, and one that lacks it
            found = explain(app, sent.id)
            assert found["reason"] == "key_missing"
            assert found["details"]["key"] == "k2"
            assert "The worker stale@here could not open it: the key 'k2'" in found["text"]
            assert "It is offered again in" in found["text"]
        unknown = sender.send_task("shop.unknown")
        (lease,) = sender.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
        sender.storage.settle([(lease, left_to_others(lease, sender.clock.now_ms()))])
        assert explain(sender, unknown.id)["reason"] == "unknown_task"
        assert "could not open it, or does not know its task. Which of the two" in explain(stale, unknown.id)["text"]


# -- pending: the first that holds -----------------------------------------------------------------------------------


def test_no_worker_takes_from_the_queue(app, live):
    id_ = add(app, queue="mail")
    assert why(app, id_)[0] == "no_worker"
    live()
    reason, text = why(app, id_)
    assert reason == "no_worker"
    assert "the 1 that live take from celery" in text


def test_a_worker_with_a_glob_takes_from_what_fits_it(app, live):
    live(queues=[], globs=["mail.*"])
    assert why(app, add(app, queue="mail.fast"))[0] == "next"
    assert why(app, add(app, queue="web"))[0] == "no_worker"


def test_the_workers_are_quiet(app, live):
    live(quiet=True)
    reason, text = why(app, add(app))
    assert (reason, "claim nothing until `liteq control wake`" in text) == ("quiet", True)


def test_a_timeout_and_the_findings_say_quiet_too(app, live):
    live(quiet=True)
    id_ = add(app)
    assert "quiet until `liteq control wake`" in why_waiting(app, id_)
    assert "the workers of it are quiet" in findings(app)[0].detail


def test_a_timeout_says_that_no_worker_knows_the_task(app, live):
    live(tasks=["other"])
    id_ = add(app, countdown=30)
    assert "no worker of it knows 'shop.add'" in why_waiting(app, id_)
    reason, text = why(app, id_)
    assert (reason, "It is due in 30 s" in text, "knows the task 'shop.add'" in text) == ("unknown_task", True, True)


def test_no_living_worker_knows_the_task(app, live):
    live(tasks=["other"])
    reason, text = why(app, add(app))
    assert (reason, "'shop.add'" in text) == ("unknown_task", True)


def test_a_command_is_one_for_a_shell_whatever_the_name_is(app):
    id_ = add(app, queue="a b; rm *")
    assert "`liteq worker -Q 'a b; rm *'`" in why(app, id_)[1]
    app.storage.queues.pause("a*", actor="ann")
    assert "`liteq queue resume 'a*'`" in why(app, id_)[1]


def test_a_paused_queue_comes_before_all(app):
    id_ = add(app)
    app.storage.queues.pause("celery", actor="ann", reason="the bank is down")
    app.clock.advance(seconds=90)
    reason, text = why(app, id_)
    assert reason == "paused"
    assert "paused by ann 1 min 30 s ago: the bank is down" in text


def test_the_reserve_of_the_disk_is_in_use(app, live, monkeypatch):
    live()
    id_ = add(app)
    monkeypatch.setattr(app.storage.driver, "in_reserve", lambda: True)
    assert why(app, id_)[0] == "disk_reserve"


def test_others_are_claimed_before_it(app, live):
    live()
    add(app)
    app.clock.advance(seconds=1)
    last = add(app)
    app.clock.advance(seconds=1)
    add(app, priority=9)
    assert explain(app, last)["details"]["ahead"] == {"n": 2, "exact": True}
    assert why(app, last) == ("behind", "About 2 messages of the queue 'celery' are claimed before it.")


def test_all_slots_are_taken_or_it_is_the_next(app, live):
    worker = live()
    running = [add(app), add(app)]
    id_ = add(app)
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    assert why(app, running[1])[0] == "next"
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    assert why(app, id_)[0] == "busy"
    assert explain(app, id_)["details"]["longest"] in running


# -- not claimable ---------------------------------------------------------------------------------------------------


def test_a_rate_holds_it_back(app, live):
    worker = live()
    app.storage.limits.set_rate("task:shop.add", "6/m")
    ids = [add(app), add(app)]
    from liteq.storage.claiming.rates import Budget

    budget = Budget(bucket=lambda task: None, now_s=app.clock.monotonic())
    app.storage.turn((), ["celery"], worker=worker, limit=2, visibility_s=60, expectant=True, budget=budget)
    held = next(id_ for id_ in ids if explain(app, id_)["state"] == "held")
    reason, text = why(app, held)
    assert reason == "rate"
    assert "6/m" in text
    assert "the next token comes in 10 s" in text


def test_it_is_not_due_or_is_tried_again(app):
    assert why(app, add(app, countdown=90)) == (
        "due", "It is due in 1 min 30 s, at 2026-01-01T00:01:30.000+00:00.",
    )  # fmt: skip
    id_ = app.tasks["shop.again"].delay().id
    drain(app)
    reason, text = why(app, id_)
    assert reason == "retry"
    assert "retry 1 of 5, after KeyError: 'later'" in text


def test_it_awaits_a_task_or_a_group(app):
    last = chain(app.tasks["shop.add"].si(1, 1), app.tasks["shop.add"].si(2, 2)).apply_async()
    reason, text = why(app, last.id)
    assert (reason, "which is pending" in text) == ("awaits", True)
    body = chord(group(app.tasks["shop.add"].si(n, n) for n in range(3)), app.tasks["shop.add"].si(0, 0)).apply_async()
    assert "3 of 3 members are left" in why(app, body.id)[1]


# -- leased and ended ------------------------------------------------------------------------------------------------


def test_it_runs_or_its_worker_is_silent(app, live):
    worker = live()
    id_ = add(app)
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    app.clock.advance(seconds=20)
    reason, text = why(app, id_)
    assert reason == "running"
    assert "liteq@here (pid" in text
    assert "its lease ends in 40 s" in text
    app.clock.advance(seconds=50)
    assert why(app, id_)[0] == "silent"


def test_its_batch_may_fill(app, live):
    @app.task(name="shop.store", batch=100, batch_wait=60)
    def store(items: Any) -> None: ...

    worker, id_ = live(), store.delay(1).id
    app.storage.claim(["celery"], worker=worker, limit=1, visibility_s=60)
    assert "or its batch of up to 100 fills there, for 60 s at most" in why(app, id_)[1]


def test_it_failed_and_what_it_quotes_is_masked(app):
    id_ = app.tasks["shop.pay"].delay(card="4111-1111").id
    drain(app)
    reason, text = why(app, id_)
    assert reason == "failed"
    assert "It failed once, last with ValueError: *** declined" in text


def test_the_first_failure_on_the_way_is_named(app):
    first = app.tasks["shop.pay"].si(card="4111-1111").set(task_id="first")
    last = chain(first, *(app.tasks["shop.add"].si(n, n) for n in range(3))).apply_async()
    drain(app)
    reason, text = why(app, last.id)
    assert (reason, explain(app, last.id)["details"]["first"]) == ("upstream", "first")
    assert "4111-1111" not in text
    assert "*** declined" in text


def test_a_list_masks_the_error_of_another_task(app):
    first = app.tasks["shop.pay"].si(card="4111-1111").set(task_id="first")
    last = chain(first, app.tasks["shop.add"].si(1, 1)).apply_async()
    drain(app)
    (one,) = tasks(app, "state:upstream_failed")["items"]
    assert (one["id"], one["error"]["message"]) == (last.id, "*** declined")
    assert "4111-1111" not in str(task(app, last.id))
    rows = {row["id"]: row["error"]["message"] for row in workflow(app, last.id)["rows"]["items"]}
    assert rows == {"first": "*** declined", last.id: "*** declined"}


def test_the_members_of_a_group_that_failed_are_the_first_failure(app):
    header = group(app.tasks["shop.add"].si(1, 1), app.tasks["shop.pay"].si(card="4111-1111").set(task_id="bad"))
    body = chord(header, app.tasks["shop.add"].si(0, 0)).apply_async()
    drain(app)
    assert explain(app, body.id)["details"]["first"] == "bad"


def test_revoked_expired_and_done(app):
    revoked, expired, done = add(app), add(app, expires=10), add(app)
    app.control.revoke(revoked)
    app.clock.advance(seconds=11)
    drain(app)
    assert [why(app, id_)[0] for id_ in (revoked, expired, done)] == ["revoked", "expired", "done"]


def test_a_run_waits_for_an_event(app):
    @app.workflow(name="order")
    def order() -> None:
        ctx.wait_event("paid", timeout=60)

    id_ = order.start().id
    drain(app, until_ms=app.clock.now_ms())
    reason, text = why(app, id_)
    assert (reason, "event paid" in text) == ("waits", True)


def test_a_stuck_run_tells_its_error_to_its_end_where_the_remedy_stands(app):
    def declared(event: str) -> Any:
        @app.workflow(name="order")
        def order() -> None:
            ctx.wait_event(event, timeout=60)
            ctx.wait_event("sent", timeout=60)

        return order

    id_ = declared("paid by the customer, or by somebody else").start().id
    drain(app, until_ms=app.clock.now_ms())
    declared("not what stands in history, and of a name that is long").Run(id_).send(
        "paid by the customer, or by somebody else"
    )
    drain(app, until_ms=app.clock.now_ms())
    reason, text = why(app, id_)
    assert (reason, "or deploy the old code again. Deploy code" in text) == ("stuck", True)
    line = waiting_line(app.storage.runs.find(id_))
    assert (len(line) <= 200, line[-1]) == (True, "…")


# -- the document of a task ------------------------------------------------------------------------------------------


def test_a_task_is_shown_with_its_attempts_kin_and_reason(app):
    last = chain(app.tasks["shop.again"].si(), app.tasks["shop.add"].si(1, 2)).apply_async()
    drain(app)
    found = task(app, last.parent.id)
    assert [(one["n"], one["outcome"], one["error"]["type"]) for one in found["attempts"]] == [
        (1, "retried", "KeyError")
    ]
    assert [one["id"] for one in found["kin"]["awaited_by"]] == [last.id]
    assert [one["id"] for one in task(app, last.id)["kin"]["awaits"]] == [last.parent.id]
    assert found["why"]["reason"] == "retry"


def test_arguments_are_for_those_who_may_see_them_and_other_queues_are_not_there(app):
    id_ = add(app)
    assert task(app, id_)["args"] == [1, 2]
    blind = task(app, id_, see=Sight(None, payloads=False))
    assert (blind["args"], blind["kwargs"], blind["hidden"]) == (None, None, True)
    assert task(app, id_, see=Sight(("mail",))) is None
    assert explain(app, id_, see=Sight(("mail",))) is None
    assert explain(app, "never") is None


def test_other_queues_are_not_named_to_one_who_may_not_see_them(app, live):
    live(queues=["celery", "secret"])
    id_ = add(app, queue="mail")
    assert "secret" not in str(explain(app, id_, see=Sight(("mail",))))
    assert "secret" in str(explain(app, id_))
    header = group(
        app.tasks["shop.pay"].si(card="4").set(queue="secret", task_id="spoiled"),
        app.tasks["shop.add"].si(1, 1).set(queue="later"),
    )
    body = chord(header, app.tasks["shop.add"].si(0, 0).set(queue="mail")).apply_async()
    drain(app, ["secret"])
    assert explain(app, body.id)["details"]["group"]["first_failed"] == "spoiled"
    assert "spoiled" not in str(explain(app, body.id, see=Sight(("mail",))))
