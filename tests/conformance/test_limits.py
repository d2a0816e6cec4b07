"""Limits by key: never more at once, never faster, and what waits starts when there is a place, in its order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from liteq.message import (
    Ack,
    Batch,
    Cancel,
    DeadLetter,
    Flag,
    Lease,
    Limited,
    Message,
    Outcome,
    Park,
    Release,
    Replace,
    RetryAt,
    Suspend,
    new_id,
)  # fmt: skip
from liteq.policy.rates import Bucket
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.storage.driver import Transaction
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Send, StateOf


def keys(*limits: str, fair: str | None = None) -> str:
    return json.dumps([fair, *limits])


def ids(leases: Iterable[Lease]) -> list[str]:
    return [lease.id for lease in leases]


def done(storage: Storage, *leases: Lease, outcome: Outcome | None = None) -> None:
    storage.settle([(lease, outcome or Ack(b"1")) for lease in leases])


def taken(storage: Storage, key: str = "k") -> int:
    return storage.limits.get(key).running


# -- places ----------------------------------------------------------------------------------------------------------


def test_no_more_of_a_key_run_at_once_than_may(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, state: StateOf
) -> None:
    storage.limits.set("k", concurrent=2)
    sent = [send(keys=keys("k")) for _ in range(4)]
    free = send()
    leases = worker.claim()
    assert ids(leases) == [*sent[:2], free]
    assert [state(id_) for id_ in sent[2:]] == [State.HELD, State.HELD]
    assert other.claim() == []
    done(storage, leases[0])
    assert ids(other.claim()) == [sent[2]]
    assert worker.claim() == []
    assert [one.id for one in storage.views.places("k")] == sent[1:3]


@pytest.mark.parametrize(
    "outcome",
    [
        Ack(None), Ack(b"1"), DeadLetter(ERROR), Cancel(None), Release(), Release(crashed=True), Release(error=ERROR),
        Release(pause_ms=5_000), Replace(Batch([Message("x", "x", PAYLOAD)]), "x"), Limited(5_000, "other"),
    ],
    ids=lambda outcome: type(outcome).__name__,
)  # fmt: skip
def test_each_outcome_frees_the_place_and_the_next_one_starts(
    storage: Storage, send: Send, worker: FakeWorker, outcome: Outcome
) -> None:
    storage.limits.set("k", concurrent=1)
    send(keys=keys("k"), flags=Flag.IGNORE_RESULT)
    (lease,) = worker.claim()
    waiting = send(keys=keys("k"), priority=5)
    assert worker.claim() == []
    turn = storage.turn([(lease, outcome)], ["celery"], worker=worker.number, limit=1, visibility_s=60)
    assert ids(turn.leases) == [waiting]
    assert [one.id for one in storage.views.places("k")] == [waiting]


def test_a_retry_frees_its_place_until_it_is_due(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=1)
    first = send(keys=keys("k"))
    (lease,) = worker.claim()
    second = send(keys=keys("k"))
    done(storage, lease, outcome=RetryAt(clock.now_ms() + 1_000, ERROR))
    (lease,) = worker.claim()
    assert lease.id == second
    clock.advance(seconds=1)
    assert worker.claim() == []
    done(storage, lease)
    assert ids(worker.claim()) == [first]


def test_a_run_that_waits_holds_no_place(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    storage.limits.set("task:t", concurrent=1)
    first, second = send(flags=Flag.RUN), send(flags=Flag.RUN)
    (lease,) = worker.claim()
    done(storage, lease, outcome=Suspend([], due_ms=clock.now_ms() + 1_000))
    assert taken(storage, "task:t") == 0
    (lease,) = worker.claim()
    assert (lease.id, taken(storage, "task:t")) == (second, 1)
    clock.advance(seconds=1)
    assert worker.claim() == []
    done(storage, lease)
    assert ids(worker.claim()) == [first]


def test_a_run_that_is_ended_at_once_frees_its_place(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("task:t", concurrent=1)
    first, second = send(flags=Flag.RUN), send(flags=Flag.RUN)
    (lease,) = worker.claim()
    assert lease.id == first
    storage.runs.terminate([first])
    assert ids(worker.claim()) == [second]


def test_a_stuck_run_is_tried_when_there_is_a_place_for_it(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    def tried() -> list[str]:
        return ids(
            storage.runs.claim_stuck(["celery"], worker=other.number, fingerprint="new", limit=5, visibility_s=60)
        )

    storage.limits.set("task:t", concurrent=1)
    stuck = send(flags=Flag.RUN)
    done(storage, *worker.claim(), outcome=Park("stuck"))
    send(flags=Flag.RUN)
    (lease,) = worker.claim()
    assert tried() == []
    done(storage, lease)
    assert tried() == [stuck]
    assert taken(storage, "task:t") == 1


def test_a_vanished_workers_places_are_taken_by_others(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    first, second = send(keys=keys("k")), send(keys=keys("k"), priority=-1)
    assert ids(worker.claim()) == [first]
    assert other.claim() == []
    storage.reap([worker.number])
    assert ids(other.claim()) == [first]
    assert other.claim() == []
    assert storage.views.waits(second) is not None


def test_a_late_outcome_frees_no_place_of_the_lease_that_came_after(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=1)
    send(keys=keys("k"))
    (stale,) = worker.claim()
    clock.advance(seconds=61)
    storage.reap()
    (fresh,) = other.claim()
    assert storage.settle([(stale, Ack(b"1"))]) == [stale]
    assert taken(storage) == 1
    send(keys=keys("k"))
    assert worker.claim() == []
    done(storage, fresh)
    assert len(worker.claim()) == 1


def test_all_keys_or_none(storage: Storage, send: Send, worker: FakeWorker, state: StateOf) -> None:
    storage.limits.set("a", concurrent=1)
    storage.limits.set("b", concurrent=1)
    has_b = send(keys=keys("b"))
    (lease,) = worker.claim()
    both, only_a = send(keys=keys("a", "b")), send(keys=keys("a"))
    assert ids(worker.claim()) == [only_a], "what lacks b has not taken a"
    assert state(both) is State.HELD
    done(storage, lease)
    assert worker.claim() == [], "b is free, a is not"
    assert (taken(storage, "a"), taken(storage, "b")) == (1, 0)
    assert lease.id == has_b


def test_lines_wait_for_the_key_that_lacks_and_start_when_it_is_there(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("a", concurrent=1)
    storage.limits.set("b", concurrent=1)
    send(keys=keys("a"))
    (a,) = worker.claim()
    both = send(keys=keys("a", "b"))
    assert worker.claim() == []
    send(keys=keys("b"))
    (b,) = worker.claim()
    done(storage, a)
    assert worker.claim() == []
    held = storage.views.waits(both)
    assert held is not None
    assert held.key == "b"
    done(storage, b)
    assert ids(worker.claim()) == [both]


def test_a_line_waits_for_what_its_next_message_lacks_and_not_for_what_the_last_one_did(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("a", concurrent=1)
    storage.limits.set("b", concurrent=1)
    send(keys=keys("a"))
    (a,) = worker.claim()
    both, only_a, last = send(keys=keys("a", "b")), send(keys=keys("a")), send(keys=keys("a"))
    assert worker.claim() == []
    send(keys=keys("b"))
    (b,) = worker.claim()
    storage.limits.set("a", concurrent=2)
    done(storage, a)
    assert worker.claim() == [], "the first one lacks b now"
    done(storage, b)
    (lease,) = worker.claim(1)
    assert lease.id == both
    (other,) = worker.claim(1)
    assert other.id == only_a, "b is taken, and it needs none"
    assert worker.claim() == []
    done(storage, other)
    assert ids(worker.claim()) == [last], "the line waits for a"


def test_a_line_that_was_emptied_for_another_key_waits_for_that_key_no_more(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    for key in "abc":
        storage.limits.set(key, concurrent=1)
        send(keys=keys(key))
    a, b, c = worker.claim()
    both, other = send(keys=keys("a", "b")), send(keys=keys("c", "b"))
    assert worker.claim() == []
    for lease in (a, c):
        done(storage, lease)
    assert worker.claim() == [], "the lines of a and c wait for b"
    done(storage, b)
    (lease,) = worker.claim(1)
    assert lease.id == both
    only_a = send(keys=keys("a"))
    assert worker.claim() == []
    done(storage, lease)
    assert ids(worker.claim(1)) == [other]
    assert ids(worker.claim(1)) == [only_a], "b is taken, and it needs none"


def test_the_highest_priority_goes_first_then_the_oldest(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    older = send(keys=keys("k"))
    clock.advance(seconds=1)
    worker.claim()
    newer, urgent = send(keys=keys("k")), send(keys=keys("k"), priority=9)
    worker.claim()
    for expected in (urgent, older, newer):
        done(storage, lease)
        (lease,) = worker.claim()
        assert lease.id == expected


def claimed_first(storage: Storage, send: Send, worker: FakeWorker) -> list[Lease]:
    send(keys=keys("k"))
    return worker.claim()


def test_what_comes_new_does_not_overtake_its_line(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    held = send(keys=keys("k"))
    assert worker.claim() == []
    new = send(keys=keys("k"))
    done(storage, lease)
    (lease,) = worker.claim()
    assert lease.id == held
    done(storage, lease)
    assert ids(worker.claim()) == [new]


def test_a_key_with_a_star_counts_each_that_fits_apart_and_the_exact_one_wins(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("user:*", concurrent=1)
    storage.limits.set("user:vip", concurrent=2)
    for user in ("1", "1", "2", "vip", "vip", "vip"):
        send(id=new_id(), task=user, keys=keys(f"user:{user}"))
    assert [lease.task for lease in worker.claim()] == ["1", "2", "vip", "vip"]
    assert (taken(storage, "user:1"), taken(storage, "user:*"), storage.limits.get("user:*").held) == (1, 4, 2)
    assert storage.limits.get("user:9").concurrent == 1
    assert [one.task for one in storage.views.places("user:vip")] == ["vip", "vip"]


def test_the_closest_of_several_patterns_holds(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("*", concurrent=1)
    storage.limits.set("user:*", concurrent=2)
    sent = [send(task=f"t{n}", keys=keys("user:1")) for n in range(3)]
    assert storage.limits.get("user:1").concurrent == 2
    assert ids(worker.claim()) == sent[:1], "its queue is limited too"


def test_the_task_and_the_queue_need_no_mention(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("task:t", concurrent=1)
    storage.limits.set("queue:celery", concurrent=2)
    first, _, other, last = send(), send(), send(task="other"), send(task="third")
    assert ids(worker.claim()) == [first, other]
    held = storage.views.waits(last)
    assert held is not None
    assert (held.key, held.ahead.n) == ("queue:celery", 0)


# -- rates -----------------------------------------------------------------------------------------------------------


def test_a_rate_of_a_key_holds_over_all_workers(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", rate="10/s")
    sent = [send(keys=keys("k")) for _ in range(4)]
    assert ids(worker.claim()) == sent[:1]
    assert other.claim() == []
    clock.advance(seconds=0.1)
    assert ids(other.claim()) == sent[1:2]
    assert worker.claim() == []
    clock.advance(seconds=5)
    assert ids(worker.claim()) == sent[2:3], "no burst comes of idle time"


def test_an_idle_worker_is_told_when_the_next_token_comes(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", rate="10/m")
    send(keys=keys("k"))
    send(keys=keys("k"))
    worker.claim()
    turn = storage.turn((), ["celery"], worker=other.number, limit=1, visibility_s=60)
    assert turn.due_ms == pytest.approx(clock.now_ms() + 6_000, abs=2)
    assert storage.turn((), ["else"], worker=other.number, limit=1, visibility_s=60).due_ms is None


def test_a_clock_that_was_set_back_does_not_empty_a_bucket(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", rate="1/m")
    sent = [send(keys=keys("k")) for _ in range(2)]
    worker.claim()
    storage.limits.pause("other", 60)
    clock._now_ms -= 86_400_000
    storage.cap()
    worker.claim()
    clock.advance(seconds=60)
    assert ids(worker.claim()) == sent[1:]
    until = storage.limits.get("other").paused_until
    assert until is None or until <= clock.now_ms() / 1000 + 60


def test_a_token_is_not_spent_on_what_lacks_a_place(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("slow", rate="1/m")
    storage.limits.set("one", concurrent=1)
    send(keys=keys("one"))
    worker.claim()
    send(keys=keys("slow", "one"))
    token = send(keys=keys("slow"))
    assert ids(worker.claim()) == [token]


# -- a limit outside -------------------------------------------------------------------------------------------------


def test_retry_after_holds_for_all_workers_and_counts_no_attempt(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker, clock: FakeClock
) -> None:
    met, behind = send(keys=keys("api")), send(keys=keys("api"))
    free = send()
    (lease,) = worker.claim(1)
    done(storage, lease, outcome=Limited(30_000, error=ERROR))
    assert ids(other.claim()) == [free]
    assert storage.limits.get("api").paused_until == clock.now_ms() / 1000 + 30
    clock.advance(seconds=29.9)
    assert other.claim() == []
    clock.advance(seconds=0.1)
    assert ids(other.claim()) == [met]
    record = storage.reader.find(met)
    assert record is not None
    assert (record.retries, record.crashes, storage.causes.attempts(met)) == (0, 0, [])
    clock.advance(seconds=1)
    assert ids(worker.claim()) == [behind]


def test_no_burst_follows_a_pause(storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock) -> None:
    storage.limits.pause("api", 10, "the bank asks for it")
    for _ in range(200):
        send(keys=keys("api"))
    assert worker.claim(200) == []
    assert storage.limits.get("api").reason == "the bank asks for it"
    clock.advance(seconds=10)
    started = []
    for _ in range(100):
        started.append(len(worker.claim(200)))
        clock.advance(seconds=0.1)
    assert started[0] == 1
    assert sum(started[:10]) <= 2
    assert sum(started[:20]) <= 6
    assert sum(started) == 200


def test_of_several_pauses_the_one_that_ends_last_holds(storage: Storage, clock: FakeClock) -> None:
    storage.limits.pause("api", 60)
    storage.limits.pause("api", 10)
    assert storage.limits.get("api").paused_until == clock.now_ms() / 1000 + 60
    assert storage.limits.resume("api")
    assert not storage.limits.resume("api")
    assert storage.limits.get("api").paused_until is None


@pytest.mark.parametrize("key", ["task:t", "queue:celery", "user:*"])
def test_a_task_a_queue_and_a_pattern_can_be_paused_without_a_limit(
    storage: Storage, send: Send, worker: FakeWorker, key: str
) -> None:
    sent = send(keys=keys("user:1"))
    storage.limits.pause(key, 60)
    assert worker.claim() == []
    assert [limit.key for limit in storage.limits.list()] == [key]
    storage.limits.resume(key)
    assert ids(worker.claim()) == [sent]
    storage.limits.tidy()
    assert storage.limits.list() == []


def test_without_a_key_it_alone_is_put_off(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, state: StateOf
) -> None:
    met, other = send(), send()
    (lease,) = worker.claim(1)
    done(storage, lease, outcome=Limited(5_000))
    assert state(met) is State.SCHEDULED
    assert ids(worker.claim()) == [other]
    clock.advance(seconds=5)
    assert ids(worker.claim()) == [met]


# -- limits that change ----------------------------------------------------------------------------------------------


def test_a_limit_that_is_set_while_tasks_run_counts_them(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    sent = [send(keys=keys("k")) for _ in range(4)]
    running = worker.claim(2)
    storage.limits.set("k", concurrent=1)
    assert taken(storage) == 2
    assert other.claim() == []
    done(storage, running[0])
    assert other.claim() == []
    done(storage, running[1], outcome=Release())
    assert ids(other.claim()) == sent[1:2]


def test_a_limit_that_came_while_it_ran_is_freed_by_one_statement_too(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    send(keys=keys("k"), flags=Flag.IGNORE_RESULT)
    (lease,) = worker.claim()
    storage.limits.set("k", concurrent=1)
    waiting = send(keys=keys("k"))
    assert worker.claim() == []
    assert storage.settle([(lease, Ack(None))]) == []
    assert ids(worker.claim()) == [waiting]


def test_a_higher_limit_starts_more_at_once(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("k", concurrent=1)
    sent = [send(keys=keys("k")) for _ in range(5)]
    worker.claim()
    storage.limits.set("k", concurrent=3)
    assert ids(worker.claim()) == sent[1:3]


def test_a_limit_that_is_deleted_lets_its_line_go_in_order(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("user:*", concurrent=1)
    sent = [send(keys=keys("user:1")) for _ in range(30)]
    assert ids(worker.claim()) == sent[:1]
    assert storage.limits.delete("user:*")
    assert not storage.limits.delete("user:*")
    assert ids([*worker.claim(), *worker.claim(50)]) == sent[1:]
    assert worker.claim() == []


def test_what_runs_under_a_pattern_counts_under_the_exact_limit(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("user:*", rate="1000/s")
    send(keys=keys("user:1"))
    worker.claim()
    storage.limits.set("user:1", concurrent=1)
    send(keys=keys("user:1"))
    assert worker.claim() == []


def test_what_was_set_stands_until_the_code_says_something_new(storage: Storage) -> None:
    storage.limits.declare({"k": ("10/s", 5), "none": (None, None)})
    storage.limits.set("k", concurrent=2)
    storage.limits.declare({"k": ("10/s", 5)})
    assert storage.limits.get("k")[1:3] == (None, 2)
    storage.limits.set("k")
    storage.limits.declare({"k": ("10/s", 5)})
    assert storage.limits.get("k")[1:3] == (None, None)
    storage.limits.declare({"k": ("10/s", 6)})
    assert storage.limits.get("k")[1:3] == ("10/s", 6)
    storage.limits.declare({"k": (None, None)})
    assert storage.limits.list() == []


def test_what_newer_code_declares_at_that_moment_stands(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = storage.limits._driver
    write = driver.write

    def meanwhile(*given: Any) -> AbstractContextManager[Transaction]:
        monkeypatch.undo()
        storage.limits.declare({"k": ("10/s", 6)})
        return write(*given)

    monkeypatch.setattr(driver, "write", meanwhile)
    storage.limits.declare({"k": ("10/s", 5), "m": (None, 1)}, unknown=True)
    assert [storage.limits.get(key)[1:3] for key in ("k", "m")] == [("10/s", 6), (None, 1)]


@pytest.mark.parametrize(
    ("key", "rate", "concurrent"),
    [("", None, 1), ("k", "often", None), ("k", None, 0), ("k", None, True), ("k", None, 1.5), ("fair:x", None, 1)],
)
def test_what_is_no_limit_is_refused(storage: Storage, key: str, rate: str | None, concurrent: int) -> None:
    with pytest.raises(ValueError, match=r"is no|from 1"):
        storage.limits.set(key, rate=rate, concurrent=concurrent)
    assert storage.limits.list() == []


def test_what_another_program_wrote_as_a_limit_stops_nobody(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("k", concurrent=5)
    with storage.driver.write() as tx:
        tx.execute("INSERT INTO liteq_limits (key, rate) VALUES ('task:t', 'fast'), ('queue:celery', 'x/y')")
        tx.execute("UPDATE liteq_meta SET value = value + 1 WHERE key = 'limits'")
    odd = send(keys="no json")
    assert ids(worker.claim()) == [odd]


# -- what becomes of messages that are held --------------------------------------------------------------------------


def test_what_is_held_can_be_revoked_purged_and_moved(
    storage: Storage, send: Send, worker: FakeWorker, state: StateOf
) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    gone, moved, purged = (send(keys=keys("k")) for _ in range(3))
    worker.claim()
    storage.cancel([gone])
    assert state(gone) is State.CANCELLED
    act(storage, "move", moved, queue="else")
    assert storage.purge(["celery"]) == 1
    assert state(purged) is None
    assert worker.claim(queue="else") == []
    done(storage, lease)
    assert worker.claim() == []
    assert ids(worker.claim(queue="else")) == [moved]


def act(storage: Storage, action: str, id_: str, **arguments: object) -> None:
    from liteq.storage.operating.audit import Actor

    storage.operations.act(action, id_, by=Actor("ann", "cli", ""), arguments=arguments)


def test_a_dead_letter_that_is_requeued_waits_for_a_place_again(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    dead = send(keys=keys("k"))
    done(storage, *worker.claim(), outcome=DeadLetter(ERROR))
    send(keys=keys("k"))
    (lease,) = worker.claim()
    storage.dead.requeue([dead])
    assert worker.claim() == []
    done(storage, lease)
    assert ids(worker.claim()) == [dead]


def test_a_part_of_a_canvas_waits_for_a_place_when_it_is_its_turn(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    first = Message("first", "t", PAYLOAD, flags=Flag.LINKED)
    second = Message("second", "t", PAYLOAD, awaits="first", keys=keys("k"))
    storage.enqueue(Batch([first, second]))
    holder = send(keys=keys("k"), priority=9)
    leases = worker.claim()
    assert ids(leases) == [holder, "first"]
    done(storage, leases[1])
    assert worker.claim() == []
    done(storage, leases[0])
    assert ids(worker.claim()) == ["second"]


def test_a_paused_queue_starts_nothing_that_is_held_and_loses_nothing(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    held = send(keys=keys("k"))
    worker.claim()
    storage.queues.pause("celery")
    done(storage, lease)
    assert worker.claim() == []
    in_other = send(keys=keys("k"), queue="else")
    (lease,) = worker.claim(queue="else")
    assert lease.id == in_other, "what is paused does not keep the place from others"
    storage.queues.resume("celery")
    assert worker.claim() == []
    done(storage, lease)
    assert ids(worker.claim()) == [held]


def test_lines_of_several_queues_each_get_a_free_place(
    storage: Storage, send: Send, worker: FakeWorker, other: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    send(keys=keys("k"), queue="mail")
    send(keys=keys("k"), queue="video")
    worker.claim(queue="mail")
    worker.claim(queue="video")
    done(storage, lease)
    (lease,) = other.claim(queue="video")
    assert worker.claim(queue="mail") == []
    done(storage, lease)
    assert len(worker.claim(queue="mail")) == 1


def test_a_worker_of_another_queue_is_rung_for_what_starts_there(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    from liteq.storage.driver import Bell

    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    send(keys=keys("k"), queue="mail")
    worker.claim(queue="mail")
    bell = storage.listen(Bell.WORK)
    try:
        storage.turn([(lease, Ack(b"1"))], ["celery"], worker=worker.number, limit=5, visibility_s=60)
        assert bell.wait(0)
    finally:
        bell.close()


def test_a_workers_own_rate_and_a_limit_hold_back_together(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=1)
    bucket = Bucket(1)

    def claim() -> list[Lease]:
        budget = Budget(lambda _task: bucket, clock.monotonic())
        leases = storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, budget=budget).leases
        bucket.take(budget.used["t"], clock.monotonic())
        return leases

    sent = [send(keys=keys("k")) for _ in range(3)]
    (lease,) = claim()
    done(storage, lease)
    assert claim() == []
    clock.advance(seconds=1)
    (lease,) = claim()
    assert lease.id == sent[1]
    clock.advance(seconds=1)
    assert claim() == []
    done(storage, lease)
    assert ids(claim()) == [sent[2]]


def test_what_was_sent_without_its_code_gets_its_keys_at_the_claim(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    storage.limits.set("k", concurrent=1)
    sent = [send() for _ in range(2)]

    def claim() -> list[Lease]:
        budget = Budget(lambda _task: None, clock.monotonic(), {"t"}, lambda lease: keys("k"))
        return storage.turn((), ["celery"], worker=worker.number, limit=5, visibility_s=60, budget=budget).leases

    (lease,) = claim()
    done(storage, lease)
    assert ids(worker.claim()) == sent[1:]
    assert taken(storage) == 1


# -- what it costs ---------------------------------------------------------------------------------------------------


def test_a_held_message_is_written_twice_in_its_life_besides_its_end(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    storage.limits.set("k", concurrent=1)
    send(keys=keys("k"))
    watched = send(keys=keys("k"), task="watched")
    with storage.driver.write() as tx:
        tx.execute("CREATE TABLE noted (state TEXT)")
        tx.execute(
            "CREATE TRIGGER note AFTER UPDATE ON liteq_messages WHEN NEW.task = 'watched'"
            " BEGIN INSERT INTO noted VALUES (NEW.state); END"
        )
    (lease,) = worker.claim()
    for _ in range(5):
        send(keys=keys("k"))
        worker.claim()
    done(storage, lease)
    (lease,) = worker.claim()
    assert lease.id == watched
    with storage.driver.read() as tx:
        assert tx.execute("SELECT state FROM noted") == [("held",), ("leased",)]


def test_the_end_of_a_task_wakes_one_row_however_many_lines_wait(storage: Storage, worker: FakeWorker) -> None:
    storage.limits.set("task:t", concurrent=1)
    storage.enqueue_many([Message(new_id(), "t", PAYLOAD, keys=keys(fair=f"{n}")) for n in range(300)])
    (lease,) = worker.claim(1)
    worker.claim(1)
    with storage.driver.write() as tx:
        before = tx.execute("SELECT total_changes()")[0][0]
    done(storage, lease)
    (lease,) = worker.claim(1)
    with storage.driver.write() as tx:
        assert tx.execute("SELECT total_changes()")[0][0] - before < 15


def test_places_of_leases_that_are_over_are_swept(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("k", concurrent=1)
    (lease,) = claimed_first(storage, send, worker)
    waiting = send(keys=keys("k"))
    worker.claim()
    with storage.driver.write() as tx:
        tx.execute("UPDATE liteq_messages SET state = 'dead', finished_ms = 0 WHERE id = ?", (lease.id,))
    storage.limits.tidy()
    assert ids(worker.claim()) == [waiting]
