"""The parent's watch over runs: what is overdue, what takes long, what other code got stuck with."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from liteq.exceptions import StepTimeout, StorageBusy, WorkerLostError
from liteq.message import Ack, DeadLetter, Flag, Lease, Park, Release, RunSpec, Suspend
from liteq.serialization import decode_error
from liteq.testing import FakeClock
from liteq.worker.chores import runs
from liteq.worker.chores.runs import LOOK_S, SHOWN_S, STUCK_S, RunWatch
from liteq.worker.pool.page import StepNow
from liteq.worker.pool.runs import GRACE_S, lost_in_a_run, timed_out


def lease(token: int = 7, seq: int = 70) -> Lease:
    return Lease(
        seq, token, "order-7", "shop.flow", b"[[],{}]", None, "celery", 0, 0, None, 0, 0, Flag.RUN, *[None] * 4
    )


def step(started: float, deadline: float = 0.0, **fields: Any) -> StepNow:
    return StepNow(7, "", 3, "shop.charge", 2, started, deadline)._replace(**fields)


class Watched:
    """A watch over a pool and a file that note what is asked of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, workflows: bool = True) -> None:
        self.clock = FakeClock()
        self.steps: list[StepNow] = []
        self.looks: list[float] = []
        self.shown: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.stuck: list[Lease] = []
        self.taken: list[Lease] = []
        self.room = 2
        self.over = 0
        self.expired: list[float] = []
        flow = SimpleNamespace(run_spec=RunSpec("2"))
        monkeypatch.setattr(runs, "flows_of", lambda _app: {"shop.flow": flow} if workflows else {})
        pool: Any = SimpleNamespace(steps=lambda: self.steps, end_overdue=self.looks.append, leases=lambda: [lease()])
        self.record = SimpleNamespace(status="queued", error=None)
        self.facade = SimpleNamespace(
            show=self.note, claim_stuck=self.claim_stuck, expire=self.expire, find=lambda _id: self.record
        )
        storage: Any = SimpleNamespace(runs=self.facade)
        conf = SimpleNamespace(visibility_timeout=60.0, workflow_expires=99.0)
        app: Any = SimpleNamespace(clock=self.clock, conf=conf, tasks={})
        self.watch = RunWatch(
            app, storage, pool, queues=lambda: ["q"], worker=lambda: 4, room=lambda: self.room, take=self.taken.extend,
            monotonic=self.clock.monotonic,
        )  # fmt: skip

    def note(self, rows: list[Any]) -> None:
        self.shown += rows

    def expire(self, expires_s: float, *, limit: int) -> int:
        self.expired.append(expires_s)
        gone = min(self.over, limit)
        self.over -= gone
        return gone

    def claim_stuck(self, queues: list[str], **how: Any) -> list[Lease]:
        self.asked.append({"queues": queues, **how})
        found, self.stuck = self.stuck[: how["limit"]], self.stuck[how["limit"] :]
        return found

    def turn_at(self, seconds: float) -> None:
        self.clock.advance(seconds - self.clock.monotonic())
        self.watch.turn()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(runs, "fingerprint_of", lambda _app: "r2")
    return Watched(monkeypatch)


def test_a_worker_without_workflows_has_no_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watched(monkeypatch, workflows=False).watch
    assert watch.due_at == math.inf
    assert watch.specs == {}


def test_it_knows_the_workflows_by_name(watched: Watched) -> None:
    assert watched.watch.specs == {"shop.flow": RunSpec("2")}


def test_it_looks_once_a_second_and_when_something_is_due(watched: Watched) -> None:
    watched.turn_at(1)
    assert watched.watch.due_at == 1 + LOOK_S
    watched.steps = [step(0.5, deadline=1.2 - GRACE_S + 0.5)]
    watched.turn_at(1.5)
    assert watched.watch.due_at == pytest.approx(1.7), "the deadline with its grace"
    assert watched.looks == [1, 1.5], "the pool is asked to end what is overdue"


def test_a_step_is_shown_once_it_has_run_for_two_seconds_and_until_it_ends(watched: Watched) -> None:
    watched.steps = [step(0.0, scope="1", key="k")]
    watched.turn_at(1.5)
    assert watched.shown == []
    assert watched.watch.due_at == pytest.approx(SHOWN_S)
    watched.turn_at(2.0)
    watched.turn_at(3.0)
    ((row, token, document),) = watched.shown
    assert (row, token) == (70, 7)
    begun_ms = watched.clock.now_ms() - 3_000
    assert orjson.loads(document) == [
        {
            "scope": "1",
            "pos": 3,
            "kind": "step",
            "name": "shop.charge",
            "key": "k",
            "attempt": 2,
            "started_ms": begun_ms,
        }
    ]
    watched.steps = []
    watched.turn_at(4.0)
    assert watched.shown[1:] == [(70, 7, None)]


def test_what_is_stuck_is_tried_as_far_as_there_is_room(watched: Watched) -> None:
    watched.stuck = [lease(token) for token in (1, 2, 3)]
    watched.turn_at(0.1)
    asked = {"queues": ["q"], "worker": 4, "fingerprint": "r2", "limit": 2, "visibility_s": 60.0}
    assert watched.asked == [asked]
    assert [one.token for one in watched.taken] == [1, 2]
    watched.turn_at(1.1)
    assert [one.token for one in watched.taken] == [1, 2, 3], "there were more: not after a pause"
    watched.turn_at(2.1)
    watched.turn_at(3.1)
    assert len(watched.asked) == 3, "nothing was left: not again at once"
    watched.turn_at(2.2 + STUCK_S)
    assert len(watched.asked) == 4


def test_without_room_nothing_that_is_stuck_is_taken(watched: Watched) -> None:
    watched.room = 0
    watched.turn_at(0.1)
    assert watched.asked == []


def test_what_is_over_leaves_in_chunks_and_then_after_a_while(watched: Watched) -> None:
    watched.over = 2 * runs.CHUNK + 1
    for second in range(1, 10):
        watched.turn_at(second)
    assert watched.over == 0
    assert watched.expired == [99.0] * 3
    watched.turn_at(3.5 + runs.EXPIRE_S)
    assert len(watched.expired) == 4


# -- signals ---------------------------------------------------------------------------------------------------------


def test_signals_tell_of_what_has_been_settled(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(runs, "announce_outcome", lambda _app, one, outcome: told.append((one.token, outcome)))
    stuck, failed, crashed = Park("stuck", b"{}"), DeadLetter(b"{}"), Release(crashed=True)
    plain = lease(1)._replace(flags=0)
    ends = [(plain, failed), (lease(2), stuck), (lease(3), failed), (lease(4), Ack(b"1")), (lease(5), crashed)]
    watched.watch.settled(ends, [lease(3)])
    assert told == [(2, stuck), (5, crashed)], "not of a task, nor of what was lost"
    watched.record = SimpleNamespace(status="failed", error=b"{}")
    watched.watch.settled([(lease(5), crashed)], [])
    assert told[2:] == [(5, DeadLetter(b"{}"))], "its last crash was its failure"


def test_a_file_that_cannot_be_read_after_a_crash_ends_no_turn(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That turn has claimed messages, which are given to the pool behind this."""

    def unreadable(_id: str) -> None:
        raise StorageBusy(1.0)

    told: list[Any] = []
    monkeypatch.setattr(runs, "announce_outcome", lambda _app, one, outcome: told.append((one.token, outcome)))
    watched.facade.find = unreadable
    watched.watch.settled([(lease(5), Release(crashed=True)), (lease(6), DeadLetter(b"{}"))], [])
    assert told == [(5, Release(crashed=True)), (6, DeadLetter(b"{}"))]


# -- the end of a process --------------------------------------------------------------------------------------------


def test_a_crash_names_the_steps_it_happened_in() -> None:
    outcome = lost_in_a_run(lease(), [step(0.0), step(0.0, name="shop.mail")], "ended with signal SIGKILL")
    assert isinstance(outcome, Release)
    assert outcome.crashed
    error = decode_error(outcome.error or b"")
    assert error.type == WorkerLostError.__name__
    assert "ended with signal SIGKILL, in step 'shop.charge' and 'shop.mail'" in error.message


def test_a_crash_between_two_steps_says_so() -> None:
    outcome = lost_in_a_run(lease(), [], "ended with exit code 3")
    assert isinstance(outcome, Release)
    assert "between two steps" in decode_error(outcome.error or b"").message


def test_a_step_whose_process_was_killed_at_its_deadline_has_had_an_attempt() -> None:
    outcome = timed_out(step(0.0, scope="1", key="k", arghash=b"h"), 5_000)
    assert isinstance(outcome, Suspend)
    (row,) = outcome.rows
    assert (row.scope, row.pos, row.kind, row.name, row.key, row.arghash) == ("1", 3, "step", "shop.charge", "k", b"h")
    assert (row.attempts, row.ended_ms, row.due_ms, outcome.due_ms) == (2, None, None, 5_000)
    assert decode_error(row.error or b"").type == StepTimeout.__name__


def test_a_step_whose_place_was_cut_is_a_crash() -> None:
    outcome = timed_out(step(0.0, whole=False), 5_000)
    assert isinstance(outcome, Release)
    assert outcome.crashed
