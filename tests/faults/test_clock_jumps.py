"""The wall clock is set: no lease that is kept alive ends early, and nothing waits for ever."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq import LiteQ, chain, chord, group
from liteq.beat import Beat
from liteq.context import identity
from liteq.exceptions import StorageBusy
from liteq.message import Ack, Batch, DeadLetter, Flag, Lease, Message, Release, RetryAt, new_id
from liteq.policy.rates import Bucket
from liteq.schedules import crontab
from liteq.serialization import encode, encode_error
from liteq.states import State
from liteq.storage.claiming.rates import Budget
from liteq.storage.reading.inspect import Record
from liteq.storage.storage import Storage, open_storage
from liteq.worker.chores.heartbeat import GONE_S

from .clocks import FAKETIME, VISIBILITY_S, Offset, TwoClocks, lease_one, worker_of
from .harness import Drill, wait_for
from .sizes import NIGHTLY, size

JUMPS = size("CLOCK_JUMPS", 1_000, 10_000)


def by(seconds: int) -> Callable[[TwoClocks], None]:
    def jump(clock: TwoClocks) -> None:
        clock.wall_ms += seconds * 1000

    return jump


def to_1970(clock: TwoClocks) -> None:
    clock.wall_ms = 3_000


DAY, YEAR = 86_400, 86_400 * 365
SET_TO_S = [-3600, -DAY, 60 - int(time.time()), YEAR, 0]  # the third is 1970
JUMPED = {"-1 h": by(-3600), "-1 day": by(-DAY), "1970": to_1970, "+1 h": by(3600), "+1 year": by(YEAR)}


@pytest.mark.parametrize("jump_s", [3600, -3600, 86_400 * 365, 90])
def test_a_live_lease_outlasts_a_clock_that_is_set(storage: Storage, clock: TwoClocks, jump_s: int) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    clock.advance(1)
    b.look_after_others()
    clock.wall_ms += jump_s * 1000
    b.look_after_others()
    clock.advance(20)  # a third of the lease: its owner's next beat
    assert a.beat([lease]) == []
    for _ in range(10):
        clock.advance(10)
        b.look_after_others()
        assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


@pytest.mark.parametrize("jump_s", [3600, 86_400 * 365, 90])
def test_a_worker_that_starts_after_the_clock_was_set_knows_of_it(
    storage: Storage, clock: TwoClocks, jump_s: int
) -> None:
    """It was not there then; but a worker in another container of this boot has written down how its clocks stood."""
    a = worker_of(storage, "a", boot="this boot/pid:[1]")
    lease = lease_one(storage, a)
    clock.advance(10)
    clock.wall_ms += jump_s * 1000
    b = worker_of(storage, "b", boot="this boot/pid:[2]")
    b.look_after_others()
    clock.advance(10)
    assert a.beat([lease]) == []
    for _ in range(10):
        clock.advance(10)
        b.look_after_others()
        assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


def test_a_worker_that_starts_after_nobody_set_a_clock_waits_for_nothing(storage: Storage, clock: TwoClocks) -> None:
    a = worker_of(storage, "a", boot="this boot/pid:[1]")
    lease = lease_one(storage, a)
    clock.advance(VISIBILITY_S + 1)
    b = worker_of(storage, "b", boot="this boot/pid:[2]")
    assert b.look_after_others()
    assert storage.settle([(lease, Ack(b"1"))]) == [lease]


@pytest.mark.parametrize("jump", JUMPED)
def test_a_dead_workers_lease_ends_in_spite_of_it(storage: Storage, clock: TwoClocks, jump: str) -> None:
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    JUMPED[jump](clock)
    for _ in range(int(4 * VISIBILITY_S) // 10):
        clock.advance(10)
        b.beat([])
        b.look_after_others()
    record = storage.reader.find(lease.id)
    assert record is not None
    assert record.state is State.PENDING


@pytest.mark.parametrize("jump", JUMPED)
def test_a_lease_that_its_worker_has_lost_sight_of_ends_in_spite_of_it(
    storage: Storage, clock: TwoClocks, jump: str
) -> None:
    """The commit of its claim was reported as failed; its worker lives, and is not judged by the clock."""
    a, b = worker_of(storage, "a", me=identity.me("a")), worker_of(storage, "b")
    lease = lease_one(storage, a)
    JUMPED[jump](clock)
    for _ in range(int(3 * VISIBILITY_S) // 10):
        clock.advance(10)
        for worker in (a, b):
            worker.beat([])
            worker.look_after_others()
    record = storage.reader.find(lease.id)
    assert record is not None
    assert record.state is State.PENDING


def test_any_number_of_jumps(storage: Storage, clock: TwoClocks) -> None:
    """Each worker looks after the others once a second; the clock is set now and then; no live lease is lost."""
    rng = random.Random(4)
    a, b = worker_of(storage, "a"), worker_of(storage, "b")
    lease = lease_one(storage, a)
    for _ in range(JUMPS):
        if rng.random() < 0.5:
            clock.wall_ms += rng.choice([-3600, -60, -2, 2, 60, 3600]) * 1000
        for _ in range(rng.randrange(1, 4)):
            clock.advance(1)
            b.look_after_others()
            if clock.elapsed_s >= a.due_at:
                assert a.beat([lease]) == []
    assert storage.settle([(lease, Ack(b"1"))]) == []


def test_a_worker_that_cannot_be_asked_and_is_silent_for_long_is_taken_off_the_list(
    storage: Storage, clock: TwoClocks
) -> None:
    """A container that was removed, for instance: its PID means nothing here."""
    worker_of(storage, "gone")
    here = worker_of(storage, "here")
    clock.advance(VISIBILITY_S)
    here.beat([])
    here.look_after_others()
    assert [w.name for w in storage.reader.workers()] == ["gone", "here"]
    for _ in range(int(GONE_S) // 10 + 1):
        clock.advance(10)
        here.beat([])
    here.look_after_others()
    assert [w.name for w in storage.reader.workers()] == ["here"]


# -- times that lie ahead --------------------------------------------------------------------------------------------

COUNTDOWN_S = 40


def counting_down(storage: Storage, clock: TwoClocks) -> str:
    due_ms = clock.now_ms() + COUNTDOWN_S * 1000
    return storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]", due_ms=due_ms, delay_ms=COUNTDOWN_S * 1000)]))[0]


def left_s(storage: Storage, clock: TwoClocks, id_: str) -> float:
    """How long the countdown still lasts."""
    record = storage.reader.find(id_)
    assert record is not None
    return (record.due_ms - clock.now_ms()) / 1000


def test_whoever_notices_sets_right_and_not_the_first_alone(storage: Storage, clock: TwoClocks) -> None:
    """The first has beaten since, and dies before it looks: nobody would notice once more."""
    first = worker_of(storage, "first")
    first.look_after_others()
    second = worker_of(storage, "second")
    second.look_after_others()
    sent = counting_down(storage, clock)
    clock.wall_ms -= DAY * 1000
    first.beat([])
    second.look_after_others()
    assert left_s(storage, clock, sent) <= COUNTDOWN_S


def test_it_is_set_right_however_long_the_file_cannot_be_written(
    storage: Storage, clock: TwoClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_of(storage, "worker")
    worker.look_after_others()
    sent = counting_down(storage, clock)
    clock.wall_ms -= DAY * 1000

    def refused() -> int:
        raise StorageBusy(1.0)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "cap", refused)
        for _ in range(3):
            with pytest.raises(StorageBusy):
                worker.look_after_others()
            clock.advance(VISIBILITY_S)
    worker.look_after_others()
    assert left_s(storage, clock, sent) <= COUNTDOWN_S


def test_a_worker_that_starts_after_one_that_has_not_set_right_does(storage: Storage, clock: TwoClocks) -> None:
    """That one has beaten since the clock was set, and was killed then; something newer has been sent since, too."""
    before = worker_of(storage, "before", boot="this boot/pid:[1]")
    before.look_after_others()
    sent = counting_down(storage, clock)
    clock.wall_ms -= DAY * 1000
    before.beat([])
    counting_down(storage, clock)
    worker_of(storage, "after", boot="this boot/pid:[2]").look_after_others()
    assert left_s(storage, clock, sent) <= COUNTDOWN_S


@pytest.mark.parametrize("outcome", [Ack(b"1"), DeadLetter(b"{}")], ids=["done", "dead"])
def test_a_worker_that_starts_when_all_others_have_left_sees_it_by_what_has_ended(
    storage: Storage, clock: TwoClocks, outcome: Ack | DeadLetter
) -> None:
    """They knew nothing of it yet, and something newer has been sent since."""
    before = worker_of(storage, "before")
    storage.settle([(lease_one(storage, before), outcome)])
    sent = counting_down(storage, clock)
    before.leave()
    clock.wall_ms -= DAY * 1000
    counting_down(storage, clock)
    worker_of(storage, "after").look_after_others()
    assert left_s(storage, clock, sent) <= COUNTDOWN_S


@pytest.mark.parametrize("jump_s", [-3600, -DAY])
def test_a_retry_waits_no_longer_than_its_countdown_if_the_clock_is_set_on_its_way(
    storage: Storage, clock: TwoClocks, jump_s: int
) -> None:
    """The task has named its time by the clock of before, and it is settled by the clock of now."""
    lease = lease_one(storage, worker_of(storage, "worker"))
    retry = RetryAt(clock.now_ms() + COUNTDOWN_S * 1000, delay_ms=COUNTDOWN_S * 1000)
    clock.wall_ms += jump_s * 1000
    storage.settle([(lease, retry)])
    assert left_s(storage, clock, lease.id) == COUNTDOWN_S


def test_what_is_handed_back_pauses_from_when_it_is_settled(storage: Storage, clock: TwoClocks) -> None:
    lease = lease_one(storage, worker_of(storage, "worker"))
    storage.settle([(lease, Release(pause_ms=2_000))])
    assert left_s(storage, clock, lease.id) == 2


def test_an_errback_of_a_replay_runs_at_once_though_the_clock_was_set_back(storage: Storage, clock: TwoClocks) -> None:
    """The errback ran by the clock of before, and a copy of it waits for the next failure."""
    worker = worker_of(storage, "worker")
    id_, flags = new_id(), Flag.ON_FAILURE | Flag.PERHAPS
    canvas = [Message(id_, "t", b"[[],{}]", flags=Flag.LINKED)]
    storage.enqueue(Batch([*canvas, Message(new_id(), "errback", b"[[],{}]", awaits=id_, flags=flags)]))
    names = []
    for outcome in (DeadLetter(encode_error(ValueError())), Ack(b"1")) * 2:
        clock.advance(10)
        (lease,) = storage.claim(["celery"], worker=worker.worker, limit=9, visibility_s=VISIBILITY_S)
        storage.settle([(lease, outcome)])
        names.append(lease.task)
        if lease.task == "errback" and len(names) == 2:
            clock.wall_ms -= DAY * 1000
            assert storage.dead.requeue([id_]) == [id_]
    assert names == ["t", "errback", "t", "errback"]


# -- every verb ------------------------------------------------------------------------------------------------------


class Hands:
    """A worker without processes: each second it beats, looks after others, takes what there is, and acknowledges."""

    def __init__(self, storage: Storage, clock: TwoClocks) -> None:
        self._storage = storage
        self._clock = clock
        self._heartbeat = worker_of(storage, "hands")
        self.done: list[str] = []
        self.retried: set[str] = set()

    def work(self, seconds: int) -> None:
        for _ in range(seconds):
            self._clock.advance(1)
            if self._clock.monotonic() >= self._heartbeat.due_at:
                self._heartbeat.beat([])
            self._heartbeat.look_after_others()
            budget = Budget(no_bucket, self._clock.monotonic())
            turn = self._storage.turn(
                [], ["celery"], worker=self._heartbeat.worker, limit=50, visibility_s=VISIBILITY_S, budget=budget
            )
            for lease in turn.leases:
                self._settle(lease)

    def _settle(self, lease: Lease) -> None:
        if lease.task == "fails_once" and lease.id not in self.retried:
            self.retried.add(lease.id)
            assert self._storage.settle([(lease, RetryAt(self._clock.now_ms() + 20_000))]) == []
        else:
            assert self._storage.settle([(lease, Ack(b"1"))]) == []
            self.done.append(lease.task)


def no_bucket(_task: str) -> Bucket | None:
    return None


@pytest.fixture
def app(storage: Storage, tmp_path: Path, clock: TwoClocks) -> Iterator[LiteQ]:
    app = LiteQ("drill", broker=f"sqlite:///{tmp_path}/queue.db", clock=clock, set_as_current=False)
    for name in ("plain", "late", "link", "member", "body", "fails_once"):
        app.task(name=name)(lambda *_: 1)
    app.task(name="limited", global_rate_limit="1/s")(lambda: 1)
    yield app
    app.close()


@pytest.mark.parametrize("back", [False, True], ids=["for good", "and back"])
@pytest.mark.parametrize("jump", JUMPED)
def test_whatever_was_sent_before_the_clock_was_set_ends(
    storage: Storage, app: LiteQ, clock: TwoClocks, jump: str, back: bool
) -> None:
    """Within the time it would have taken without: countdowns, retries, chains, chords, rates, others' leases."""
    tasks = app.tasks
    storage.limits.set_rate("task:limited", "1/s")
    taken = lease_one(storage, worker_of(storage, "dead"))
    hands = Hands(storage, clock)
    tasks["plain"].delay()
    tasks["late"].apply_async(countdown=40)
    tasks["fails_once"].delay()
    chain(tasks["link"].si(), tasks["link"].si().set(countdown=30), tasks["link"].si()).apply_async()
    chord(group(tasks["member"].si().set(countdown=n) for n in (0, 30)), tasks["body"].s()).apply_async()
    for _ in range(5):
        tasks["limited"].delay()
    hands.work(2)
    JUMPED[jump](clock)
    sent_after = tasks["plain"].delay()
    if back:
        hands.work(2)
        clock.wall_ms = 1_767_225_600_000 + 4_000
    hands.work(3 * int(VISIBILITY_S))
    assert sorted(hands.done) == sorted(
        ["plain"] * 2 + ["late", "fails_once", "t"] + ["link"] * 3 + ["member"] * 2 + ["body"] + ["limited"] * 5
    )
    assert sent_after.id
    assert {count.state for count in storage.reader.counts()} == {State.SUCCEEDED}
    assert storage.reader.find(taken.id) is not None


@pytest.mark.parametrize("jump_s", [-3600, -DAY])
def test_what_has_finished_leaves_in_spite_of_it(storage: Storage, clock: TwoClocks, jump_s: int) -> None:
    a = worker_of(storage, "a")
    lease = lease_one(storage, a)
    storage.settle([(lease, Ack(b"1"))])
    clock.wall_ms += jump_s * 1000
    assert storage.reader.is_ahead()
    storage.cap()
    clock.advance(601)
    assert storage.expire(result_expires_s=600, dead_expires_s=None) == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["running beat", "beat that starts"])
@pytest.mark.parametrize("jump", JUMPED)
def test_entries_go_on_firing(storage: Storage, app: LiteQ, clock: TwoClocks, jump: str, restarted: bool) -> None:
    app.conf.beat_schedule = {
        "interval": {"task": "plain", "schedule": 30},
        "crontab": {"task": "late", "schedule": crontab()},
    }
    beat = Beat(app)
    beat.turn()
    clock.advance(61)
    beat.tick()
    JUMPED[jump](clock)
    beat = Beat(app) if restarted else beat
    beat.turn()
    before = len(storage.reader.messages(State.PENDING))
    for _ in range(61):
        clock.advance(1)
        beat.tick()
    names = [record.task for record in storage.reader.messages(State.PENDING)]
    assert len(names) >= before + 3
    assert {"plain", "late"} <= set(names)


def test_a_rate_holds_no_longer_than_it_says(storage: Storage, clock: TwoClocks) -> None:
    """A bucket that is full in an hour, after the clock was set back by that."""
    storage.limits.set_rate("task:t", "5/h")
    hands = Hands(storage, clock)
    for _ in range(3):
        storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
    hands.work(1)
    assert len(hands.done) == 1
    clock.wall_ms -= 3_600_000
    hands.work(700)
    assert len(hands.done) == 1, "a token too many"
    hands.work(40)
    assert len(hands.done) == 2


# -- real processes --------------------------------------------------------------------------------------------------


# libfaketime's clock_nanosleep, which time.sleep calls, fails with EINVAL where the monotonic clock is left alone.
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"


def left(storage: Storage, ids: list[str]) -> list[Record]:
    return [record for record in storage.reader.find_many(ids).values() if record.state is not State.SUCCEEDED]


@pytest.mark.skipif(not NIGHTLY or FAKETIME is None, reason="nightly; needs libfaketime (apt install faketime)")
@pytest.mark.timeout(1200)
def test_workers_live_through_a_clock_that_is_set(tmp_path: Path) -> None:
    told = tmp_path / "clock"
    told.write_text("+0")
    drill = Drill(tmp_path, settings={"LITEQ_VISIBILITY_TIMEOUT": "6"})
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), drill.env["PYTHONPATH"]]),
    }
    (tmp_path / "sitecustomize.py").write_text(SLEEP)
    clock, total = Offset(), 1
    storage = open_storage(f"sqlite:///{drill.db}", clock=clock)
    storage.migrate()
    storage.limits.set_rate("task:drill_app.add", "5/s")
    try:
        workers = [drill.worker(name=f"worker-{n}", env=faked) for n in range(2)]
        long = drill.send(storage, "until", str(tmp_path / "go"))
        wait_for(lambda: drill.executions() == 1, within_s=60)
        for n, seconds in enumerate(SET_TO_S):
            sent = [drill.send(storage, "work", n) for n in range(20)]
            total += 51
            sent += [drill.send(storage, "add", 1, n) for n in range(10)]
            late = Message(new_id(), "drill_app.work", encode([[n], {}], what="arguments"), delay_ms=4_000)
            late.due_ms = clock.now_ms() + 4_000
            sent += storage.enqueue(Batch([late]))
            told.write_text(f"{seconds:+d}")
            clock.seconds = seconds
            sent += [drill.send(storage, "work", n) for n in range(20)]
            wait_for(lambda: not left(storage, sent), within_s=60)
            assert [worker.poll() for worker in workers] == [None, None]
            record = storage.reader.find(long)
            assert record is not None
            assert record.state is State.LEASED
        began = time.monotonic()
        wait_for(lambda: time.monotonic() - began > 14, within_s=30)  # two leases
        assert drill.ledger()[long] == 1
        (tmp_path / "go").touch()
        wait_for(lambda: storage.reader.find(long).state is State.SUCCEEDED, within_s=30)  # type: ignore[union-attr]
        assert drill.ledger().total() == len(drill.ledger()) == total, "lost, or run twice"
        assert [drill.stop(worker) for worker in workers] == [0, 0]
    finally:
        storage.close()
        drill.close()
