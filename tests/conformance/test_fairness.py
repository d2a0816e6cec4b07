"""Keys that take turns: no backlog of one keeps another waiting; and an oracle that counts, whatever happens."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable

import pytest

from liteq.message import Ack, Lease, Limited, Message, Outcome, Release, RetryAt, new_id
from liteq.states import State
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import ERROR, PAYLOAD, FakeWorker, Send, StateOf


def fair(key: str, *limits: str) -> str:
    return json.dumps([key, *limits])


def starts(leases: Iterable[Lease]) -> list[str]:
    return [lease.task for lease in leases]


def backlog(storage: Storage, n: int, **keys: str) -> None:
    """`n` messages for each tenant, of a task of its name."""
    for tenant, text in keys.items():
        storage.enqueue_many([Message(new_id(), tenant, PAYLOAD, keys=text) for _ in range(n)])


def test_another_keys_first_is_among_the_next_starts(storage: Storage, send: Send, worker: FakeWorker) -> None:
    backlog(storage, 3_000, a=fair("a"))
    assert starts(worker.claim(4)) == ["a"] * 4
    send(task="b", keys=fair("b"))
    assert "b" in starts(worker.claim(2))


def test_keys_take_turns_also_within_one_claim(storage: Storage, worker: FakeWorker) -> None:
    backlog(storage, 10, a=fair("a"), b=fair("b"), c=fair("c"))
    got = starts([*worker.claim(5), *worker.claim(7), *worker.claim(6)])
    assert Counter(got) == {"a": 6, "b": 6, "c": 6}
    for at in range(len(got)):
        counts = Counter(got[: at + 1])
        assert max(counts.values()) - min(counts[t] for t in "abc") <= 1


def test_the_messages_of_a_key_keep_their_order(storage: Storage, send: Send, worker: FakeWorker) -> None:
    ids = [send(keys=fair("a")) for _ in range(5)]
    assert [lease.id for lease in worker.claim()] == ids


def test_it_goes_within_the_priority(storage: Storage, send: Send, worker: FakeWorker) -> None:
    backlog(storage, 3, a=fair("a"))
    send(task="b", keys=fair("b"))
    send(task="urgent", keys=fair("a"), priority=5)
    assert starts(worker.claim(1)) == ["urgent"]


def test_plain_messages_go_beside_them_by_their_time(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock
) -> None:
    for task in ("a", "plain", "a", "plain"):
        send(task=task, keys=fair("a") if task == "a" else None)
        clock.advance(seconds=1)
    assert starts(worker.claim(4)) == ["a", "plain", "a", "plain"]


def test_one_that_was_empty_does_not_catch_up(storage: Storage, send: Send, worker: FakeWorker) -> None:
    backlog(storage, 100, a=fair("a"))
    worker.claim(50)
    backlog(storage, 100, b=fair("b"))
    assert Counter(starts(worker.claim(20)))["b"] <= 11


def test_one_that_sends_again_and_again_gets_no_more_than_its_turn(
    storage: Storage, send: Send, worker: FakeWorker
) -> None:
    backlog(storage, 50, a=fair("a"), b=fair("b"), c=fair("c"))
    got = []
    for _ in range(40):
        if "d" not in got[-1:]:
            send(task="d", keys=fair("d"))
        got += starts(worker.claim(1))
    assert 8 <= Counter(got)["d"] <= 14


def test_what_comes_due_later_joins_its_line(
    storage: Storage, send: Send, worker: FakeWorker, clock: FakeClock, state: StateOf
) -> None:
    later = send(task="late", keys=fair("a"), due_ms=clock.now_ms() + 1_000)
    assert state(later) is State.SCHEDULED
    clock.advance(seconds=1)
    got = [*worker.claim(), *worker.claim()]
    assert [lease.id for lease in got] == [later]
    storage.settle([(got[0], RetryAt(clock.now_ms(), ERROR))])
    assert [lease.id for lease in [*worker.claim(), *worker.claim()]] == [later]


def test_under_a_limit_they_take_turns_for_its_places(storage: Storage, send: Send, worker: FakeWorker) -> None:
    storage.limits.set("api", concurrent=1)
    backlog(storage, 30, a=fair("a", "api"), b=fair("b", "api"))
    got = []
    for _ in range(20):
        (lease,) = worker.claim()
        assert worker.claim() == []
        got.append(lease.task)
        storage.settle([(lease, Ack(None))])
    assert Counter(got) == {"a": 10, "b": 10}


def test_a_key_that_lacks_a_place_does_not_keep_the_others(storage: Storage, worker: FakeWorker) -> None:
    storage.limits.set("only-a", concurrent=1)
    backlog(storage, 10, a=fair("a", "only-a"), b=fair("b"))
    assert Counter(starts(worker.claim(11))) == {"a": 1, "b": 10}


def test_one_that_waited_for_long_does_not_catch_up(storage: Storage, worker: FakeWorker) -> None:
    storage.limits.pause("only-a", 1_000)
    backlog(storage, 100, a=fair("a", "only-a"), b=fair("b"))
    assert Counter(starts(worker.claim(40))) == {"b": 40}
    storage.limits.resume("only-a")
    assert Counter(starts(worker.claim(20)))["a"] <= 11


def test_a_thousand_keys_and_a_worker_that_takes_few(storage: Storage, worker: FakeWorker) -> None:
    storage.limits.set("task:t", concurrent=3)
    storage.enqueue_many([Message(new_id(), "t", PAYLOAD, keys=fair(str(n % 200))) for n in range(600)])
    seen: Counter[str] = Counter()
    while leases := worker.claim(8):
        assert len(leases) <= 3
        seen.update(lease.id for lease in leases)
        storage.settle([(lease, Ack(None)) for lease in leases])
    assert seen.total() == len(seen) == 600


# -- an oracle -------------------------------------------------------------------------------------------------------


class World:
    """Messages with keys under limits, workers that claim, end, vanish and are late; and who counts what runs."""

    CONCURRENT = {"a": 1, "b": 2, "task:x": 3, "user:*": 1}
    KEYS = ("a", "b", "user:1", "user:2", "free")

    def __init__(self, storage: Storage, clock: FakeClock, seed: int) -> None:
        self.storage, self.clock, self.random = storage, clock, random.Random(seed)
        self.limits = dict(self.CONCURRENT)
        self.sent: dict[str, tuple[str, list[str]]] = {}
        self.running: dict[int, Lease] = {}
        self.ended: Counter[str] = Counter()
        self.stale: list[Lease] = []
        self.over: set[str] = set()  # keys of which more ran when their limit was set
        self.workers = [FakeWorker(storage, f"w{n}") for n in range(3)]
        for key, n in self.limits.items():
            storage.limits.set(key, concurrent=n)

    def keys_of(self, id_: str) -> list[str]:
        task, keys = self.sent[id_]
        return [f"task:{task}", *keys]

    def limit_of(self, key: str) -> int | None:
        return self.limits.get(key, self.limits.get("user:*") if key.startswith("user:") else None)

    def count(self) -> Counter[str]:
        return Counter(key for lease in self.running.values() for key in self.keys_of(lease.id))

    def check(self) -> None:
        for key, n in self.count().items():
            limit = self.limit_of(key)
            assert limit is None or n <= limit or key in self.over, (key, n, limit)
        with self.storage.driver.read() as tx:
            slots = tx.execute("SELECT key, seq FROM liteq_slots")
        live = {(key, lease.seq) for lease in self.running.values() for key in self.keys_of(lease.id)}
        assert set(slots) <= live, "a place that nobody has"

    def send(self) -> None:
        task = self.random.choice(["x", "y"])
        keys = self.random.sample(self.KEYS, self.random.randint(0, 2))
        turn = self.random.choice([None, None, "t1", "t2"])
        message = Message(
            new_id(), task, PAYLOAD, priority=self.random.choice([0, 0, 3]),
            queue=self.random.choice(["celery", "celery", "mail"]),
            keys=json.dumps([turn, *keys]) if turn or keys else None,
            **({"due_ms": self.clock.now_ms() + 500, "delay_ms": 500} if self.random.random() < 0.1 else {}),
        )  # fmt: skip
        self.sent[message.id] = (task, keys)
        self.storage.enqueue_many([message])

    def claim(self) -> int:
        worker = self.random.choice(self.workers)
        leases = worker.claim(self.random.randint(1, 5), queue=self.random.choice(["celery", "mail"]))
        for lease in leases:
            assert lease.id not in {one.id for one in self.running.values()}
            self.running[lease.token] = lease
        return len(leases)

    def settle(self) -> None:
        if not self.running:
            return
        batch = self.random.sample(sorted(self.running), min(len(self.running), self.random.randint(1, 3)))
        settled = [(self.running.pop(token), self.outcome()) for token in batch]
        settled += [(lease, Ack(None)) for lease in self.stale]
        lost = self.storage.settle(settled)
        assert lost == self.stale
        self.stale = []
        self.ended.update(lease.id for lease, outcome in settled if type(outcome) is Ack and lease not in lost)

    def outcome(self) -> Outcome:
        return self.random.choice(
            [
                Ack(None),
                Ack(None),
                Ack(b"1"),
                Release(),
                RetryAt(self.clock.now_ms() + 200, ERROR, delay_ms=200),
                Limited(300, "b"),
            ]
        )

    def vanish(self) -> None:
        worker = self.random.choice(self.workers)
        with self.storage.driver.read() as tx:
            gone = {t for (t,) in tx.execute(
                "SELECT token FROM liteq_messages WHERE state = 'leased' AND worker = ?", (worker.number,)
            )}  # fmt: skip
        self.storage.reap([worker.number])
        self.stale += [self.running.pop(token) for token in gone]
        self.workers[self.workers.index(worker)] = FakeWorker(self.storage, new_id())

    def change(self) -> None:
        key = self.random.choice(sorted(self.CONCURRENT))
        n = self.random.choice([1, 2, 4])
        self.limits[key] = n
        self.storage.limits.set(key, concurrent=n)

    def pass_time(self) -> None:
        self.clock.advance(seconds=self.random.choice([0.1, 0.5, 2]))

    def jump_back(self) -> None:
        self.clock._now_ms -= self.random.choice([500, 3_600_000])
        self.storage.cap()

    def step(self) -> None:
        acts = [self.send] * 8 + [self.claim] * 8 + [self.settle] * 7 + [self.pass_time] * 4
        act = self.random.choice([*acts, self.vanish, self.change, self.jump_back])
        act()
        counts = self.count()
        self.over = {key for key, n in counts.items() if (most := self.limit_of(key)) is not None and n > most} & (
            self.over | (set(counts) if act == self.change else set())
        )
        self.check()

    def drain(self) -> None:
        """Let everything run: nothing may be left behind, whatever has happened."""
        idle = 0
        while idle < 60:
            found = sum(len(self._all(worker)) for worker in self.workers)
            idle = 0 if found else idle + 1
            self.clock.advance(seconds=0.5)

    def _all(self, worker: FakeWorker) -> list[Lease]:
        leases = [*worker.claim(5), *worker.claim(5, queue="mail"), *self.running.values()]
        self.running = {}
        self.ended.update(lease.id for lease in leases)
        assert self.storage.settle([(lease, Ack(None)) for lease in leases]) == []
        return leases


@pytest.mark.parametrize("seed", range(12))
def test_never_more_than_allowed_and_nothing_is_left_behind(storage: Storage, clock: FakeClock, seed: int) -> None:
    world = World(storage, clock, seed)
    for _ in range(250):
        world.step()
    world.drain()
    with storage.driver.read() as tx:
        left = tx.execute("SELECT task, queue, state, keys, held_by FROM liteq_messages WHERE state <> 'succeeded'")
        assert left == []
        assert tx.execute("SELECT * FROM liteq_slots") == []
    assert world.ended == Counter(list(world.sent)), "each once"
