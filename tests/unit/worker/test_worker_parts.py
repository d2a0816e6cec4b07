"""The parts of a worker that need no process: frames, estimates, identities."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteq import LiteQ
from liteq.context import identity
from liteq.message import (
    Ack,
    Batch,
    Cancel,
    ContinueAsNew,
    DeadLetter,
    Group,
    Lease,
    Message,
    Park,
    Release,
    Replace,
    RetryAt,
    StepRow,
    Suspend,
    WorkerIdentity,
)
from liteq.testing import FakeClock
from liteq.worker.chores.soft_shutdown import SoftShutdown
from liteq.worker.loop import Consumer
from liteq.worker.pool.base import LONG_S, MAX_WINDOW, Estimates, worth_a_turn
from liteq.worker.pool.limits import limits_of
from liteq.worker.pool.prefork import wire
from liteq.worker.pool.prefork.pool import PreforkPool
from liteq.worker.revoking import Remembered, has_stamp


@given(values=st.lists(st.tuples(st.integers(), st.binary(max_size=200), st.none())), cut=st.integers(1, 50))
def test_frames_come_through_in_pieces_of_any_size(values, cut):
    stream = b"".join(wire.frame(value) for value in values)
    frames, found = wire.Frames(), []
    for i in range(0, len(stream), cut):
        found += frames.feed(stream[i : i + cut])
    assert found == values


@pytest.mark.parametrize(
    "outcome",
    [
        Ack(b"1"),
        Ack(None),
        RetryAt(5, b"e", b"p", None, delay_ms=4),
        DeadLetter(b"e"),
        Release(crashed=True, error=b"e"),
        Cancel(None),
        Suspend(
            [StepRow("0/1", 3, "event", "go", "key", b"hash", 2, b"1", b"e", "child", 9, "event go", marks=b"[]")],
            due_ms=9,
            need=2,
            seen=(3, 1),
            fragile=True,
            marks=b"[]",
        ),
        Suspend(),
        ContinueAsNew(b"[[],{}]"),
        Park("stuck", b"e", "fingerprint", progressed=True),
        Replace(Batch([Message("a", "t", b"[]", flags=3, delay_ms=7)], [Group("g", 2)]), "a"),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_each_outcome_comes_through_as_it_was(outcome):
    (packed,) = wire.Frames().feed(wire.frame(wire.pack(outcome)))
    assert wire.unpack(packed[0], packed[1:]) == outcome


def test_nothing_is_given_in_advance_behind_a_long_task():
    estimates = Estimates()
    for _ in range(500):
        estimates.add("quick", 1e-5)
    assert 2 < estimates.window(0.0, 0, 0.0) <= MAX_WINDOW
    assert estimates.window(1e-5, 1, LONG_S * 2) == 0
    for _ in range(500):
        estimates.add("slow", 1.0)
    assert estimates.window(0.0, 0, 0.0) == 2
    assert estimates.window(1.0, 1, 0.0) == 0


@pytest.mark.parametrize(
    ("rooms", "worth_it"),
    [
        ([(2, 0), (0, 2)], True),  # one is idle
        ([(1, 1)], True),  # a long task has one behind it, no more
        ([(1, 5), (2, 4)], False),
        ([(1, 5), (3, 3)], True),
        ([(0, 0), (0, 1)], False),  # none may be given anything
        ([], False),
    ],
)
def test_places_are_filled_up_when_an_executor_has_begun_its_second_half(rooms, worth_it):
    assert worth_a_turn(rooms) == worth_it


@pytest.mark.parametrize(("held", "width", "room"), [(0, 1, 4), (2, 1, 2), (3, 1, 0), (3, 8, 1)])
def test_a_pool_has_no_room_while_a_child_has_most_of_its_work(held, width, room):
    """But where it runs its leases side by side, each place that is free is room."""
    pool = PreforkPool.__new__(PreforkPool)
    pool._stopping, pool._isolation, pool._again, pool.width = False, None, [], width
    pool._window = lambda child: 4 - len(child.leases)
    pool._children = [SimpleNamespace(leases=dict.fromkeys(range(held)))]
    assert pool.capacity() == room


def test_the_nearest_limit_counts():
    class Task:
        time_limit, soft_time_limit = 5.0, None

    assert limits_of(Task, (None, None), (9.0, 8.0)) == (5.0, 8.0)
    assert limits_of(Task, (1.0, 2.0), (9.0, 8.0)) == (1.0, 2.0)


def test_a_soft_shutdown_gives_its_time_once():
    clock, ended = FakeClock(), []
    soft = SoftShutdown(5.0, lambda: ended.append(clock.monotonic()), clock.monotonic)
    clock.advance(1)
    assert soft.begin()
    assert soft.due_at == 6.0
    assert not soft.begin(), "a second demand is met at once"
    clock.advance(5)
    soft.turn()
    assert (ended, soft.due_at) == ([6.0], math.inf)


def test_without_a_time_to_give_there_is_no_soft_shutdown():
    assert not SoftShutdown(0.0, lambda: None).begin()


@pytest.mark.parametrize(
    ("name", "expanded"), [("w1@%h", "w1@a.b.c"), ("%n", "a@a.b.c"), ("x@%d", "x@b.c"), (None, "liteq@a.b.c")]
)
def test_a_workers_name(monkeypatch, name, expanded):
    monkeypatch.setattr("socket.gethostname", lambda: "a.b.c")
    assert identity.expand_name(name) == expanded


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="identities are told apart by Linux's /proc")
def test_who_is_known_to_be_dead():
    def of(pid: int, started: str, boot: str = identity.boot_id(), host: str = "elsewhere") -> WorkerIdentity:
        return WorkerIdentity("u", "w", host, boot, pid, started)

    me = identity.me("w")
    assert not identity.is_dead(me)
    assert identity.is_dead(of(me.pid, "1")), "a PID that was used again"
    assert not identity.is_dead(of(me.pid, "1", boot="another/ns")), "another machine: only its deadline tells"
    assert identity.is_dead(_in_earlier_boot(me))
    assert not identity.is_dead(_in_earlier_boot(me), one_machine=False), "machines that share a queue share names"
    assert not identity.is_dead(of(1, "1", boot=""))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        alive = of(process.pid, identity.start_time(process.pid))
        assert not identity.is_dead(alive)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity.is_dead(alive), "a zombie has ended, though nobody has waited for it"


def _in_earlier_boot(me: WorkerIdentity) -> WorkerIdentity:
    return WorkerIdentity(me.uuid, me.name, me.host, "another/ns", me.pid, me.started)


def test_what_was_revoked_is_forgotten_when_its_time_is_over():
    clock = FakeClock()
    revoked = Remembered(60, clock.monotonic)
    revoked |= {"a", "b"}
    clock.advance(30)
    revoked.update(["b", "c"])  # once more: from now on
    clock.advance(30)
    revoked.forget()
    assert sorted(revoked) == ["b", "c"]
    assert "a" not in revoked
    clock.advance(30)
    revoked.forget()
    assert len(revoked) == 0


def test_a_lease_that_is_about_to_go_back_is_recalled(tmp_path):
    """It is neither in the pool nor in the queue until its release is stored; a revocation has to find it."""
    with LiteQ("recall", broker=f"sqlite:///{tmp_path}/q.db") as app:
        for _ in range(2):
            app.send_task("t")
        one, two = app.storage.claim(["celery"], worker=1, limit=2, visibility_s=60)
        consumer = Consumer.__new__(Consumer)
        consumer._outcomes = [(one, Release()), (two, Release(crashed=True))]
        assert consumer.recall(lambda lease: True) == [one]
        assert consumer._outcomes == [(two, Release(crashed=True))]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (None, False),
        (b'{"stamps":{"a":"b"}}', True),
        (b'{"stamps":{"a":["x","b"]}}', True),
        (b'{"stamps":{"a":"c"}}', False),
        (b'{"stamps":null}', False),
        (b'{"stamps":5}', False),
        (b'["stamps"]', False),
    ],
)
def test_a_stamp_is_found_in_whatever_a_message_has_for_options(options, found):
    """Where that raised, a worker that knew of a revoked stamp claimed the message again and again."""
    lease = Lease(
        seq=1, token=2, id="id", task="t", payload=b"[[],{}]", options=options, queue="q", priority=0, due_ms=0,
        expires_ms=None, retries=0, crashes=0, flags=0, root_id=None, parent_id=None, group_id=None, awaits=None,
    )  # fmt: skip
    assert has_stamp(lease, {"a": {'"b"'}}) is found
