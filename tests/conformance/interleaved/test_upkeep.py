"""Logs that are followed, sums, schedules and operations, two processes at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from liteq.message import Batch, Message, WorkerIdentity, new_id
from liteq.states import State
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.facades.operators.operations import Chunk
from liteq.storage.housekeeping import reseal
from liteq.storage.operating import alerts
from liteq.storage.operating.audit import Actor
from liteq.storage.operating.operations import Wanted
from liteq.storage.sending.periodic import Entry
from liteq.storage.statistics import stats
from liteq.storage.statistics.stats import Tally
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..conftest import PAYLOAD, FakeWorker, Send, StateOf
from .conftest import Meet

ME = Actor("me", "test", "")


def test_a_follower_of_events_misses_none(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    seen: list[tuple[int, bytes]] = []

    def follow() -> None:
        seen.extend(storage.events.after(seen[-1][0] if seen else 0, 10))

    meet(lambda: one.events.put([b"1"]), lambda: two.events.put([b"2"]), meanwhile=follow)
    follow()
    assert [event for _, event in seen] == [b"1", b"2"]


def test_a_follower_of_commands_misses_none(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    seen: list[tuple[int, str]] = []

    def follow() -> None:
        seen.extend((c.id, c.name) for c in storage.commands.after(seen[-1][0] if seen else 0))

    def send(storage: Storage, name: str) -> object:
        return storage.commands.send(name, b"{}", None, wants_reply=False, expires_s=60)

    meet(lambda: send(one, "a"), lambda: send(two, "b"), meanwhile=follow)
    follow()
    assert [name for _, name in seen] == ["a", "b"]


def test_a_listener_misses_no_message_that_passes(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    place = storage.exchanges.listen("c", "me", patience_s=60)
    seen: list[tuple[int, bytes]] = [(place, b"")]

    def follow() -> None:
        seen.extend(storage.exchanges.after("c", seen[-1][0]))

    meet(lambda: one.exchanges.send("c", b"1"), lambda: two.exchanges.send("c", b"2"), meanwhile=follow)
    follow()
    assert [body for _, body in seen[1:]] == [b"1", b"2"]


def test_both_of_two_sums_are_added(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    def add(storage: Storage) -> None:
        tally = Tally()
        tally.n = 1
        storage.stats.add({("t", "celery", "succeeded", ""): tally})

    for n in (2, 4):  # rows that are new, and rows that are there
        meet(lambda: add(one), lambda: add(two))
        assert [stat.tally.n for stat in storage.stats.totals()] == [n]
        assert [stat.tally.n for stat in storage.stats.series(60)] == [n]


def test_each_minute_is_put_into_its_hour_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock
) -> None:
    tally = Tally()
    tally.n = 3
    for _ in range(2):
        storage.stats.add({("t", "celery", "succeeded", ""): tally})
        clock.advance(seconds=60)
    with storage.driver.write() as tx:  # the first of them, so that the hour is there
        assert stats.fold(tx, before_minute=clock.now_ms() // 60_000 - 1, limit=10) == 1
    clock.advance(seconds=10 * 86_400)
    meet(one.stats.tidy, two.stats.tidy, before=stats.DELETE)
    assert [stat.tally.n for stat in storage.stats.series(20 * 86_400)] == [6]


@pytest.mark.parametrize("it", ["begins", "is over", "was over before"])
def test_of_two_watchers_one_tells(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock, it: str
) -> None:
    found = {"late": ("a queue is late", 0)}

    def look(storage: Storage) -> list[alerts.Tell]:
        return storage.alerts.look("page", found, quiet_s=60, hold_s=60)

    if it != "begins":
        storage.alerts.told("page", look(storage)[0])
        clock.advance(seconds=61)
        found = {}
    if it == "was over before":
        storage.alerts.tell_later("page", look(storage)[0], in_s=0)
    ours, theirs = meet(lambda: look(one), lambda: look(two))
    assert ([alert.told for alert in ours], theirs) == ([alerts.BEGAN if it == "begins" else alerts.OVER], [])


def test_the_start_of_a_release_is_marked_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock
) -> None:
    noted = meet(lambda: one.audit.mark_release("2.0"), lambda: two.audit.mark_release("2.0"))
    assert noted == (True, False)
    assert [mark.label for mark in storage.audit.marks(0, clock.now_ms() + 1)] == ["2.0"]


def test_two_beats_fire_an_entry_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock
) -> None:
    storage.schedules.put([Entry("e", "s", b"{}", b"{}", clock.now_ms())])
    ((record,), _) = storage.schedules.due()

    def fire(storage: Storage, id_: str) -> bool:
        batch = Batch([Message(id_, "t", PAYLOAD)])
        return storage.schedules.fire(record, batch, n=1, last_id=id_, next_due_ms=clock.now_ms() + 60_000)

    assert meet(lambda: fire(one, "a"), lambda: fire(two, "b")) == (True, False)
    assert [message.id for message in storage.reader.messages(State.PENDING)] == ["a"]


def test_two_configurations_of_one_owner_leave_one_set_of_entries(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    def synchronise(storage: Storage, *names: str) -> list[str]:
        return storage.schedules.synchronise("me", [Entry(name, name, b"{}", b"{}", None) for name in names])

    synchronise(storage, "a", "b")
    ours, theirs = meet(lambda: synchronise(one, "a"), lambda: synchronise(two, "a"))
    assert [*ours, *theirs].count("b") >= 1
    assert [entry.name for entry in storage.schedules.all()] == ["a"]


@pytest.mark.parametrize("stops_first", [True, False])
def test_an_operation_that_is_stopped_does_no_chunk_behind_that(
    meet: Meet, send: Send, state: StateOf, storage: Storage, one: Storage, two: Storage, stops_first: bool
) -> None:
    id_ = send()
    storage.operations.create(Wanted("op", "revoke", "", b"{}", None, "me", "", "test", 1))
    seen = storage.operations.find("op")
    assert seen is not None
    assert storage.operations.take(seen, "owner")
    chunk = Chunk("revoke", [id_], {}, b"{}", None, [], 1 << 62, None, ME)
    if stops_first:
        _, did = meet(lambda: one.operations.stop("op", by=ME), lambda: two.operations.step("op", "owner", chunk))
        assert (did, state(id_)) == (None, State.PENDING)
    else:
        did, _ = meet(lambda: one.operations.step("op", "owner", chunk), lambda: two.operations.stop("op", by=ME))
        assert did is not None
        assert (did.became["done"], state(id_)) == (1, State.CANCELLED)


def test_a_rotation_of_keys_takes_nothing_back_that_is_written_meanwhile(
    meet: Meet, send: Send, storage: Storage, one: Storage, two: Storage, worker: FakeWorker
) -> None:
    send()
    lease = worker.claim_one()
    held = (lease.seq, lease.token)
    assert storage.kept.save_cursor(held, b"1")
    _, saved = meet(
        lambda: list(reseal.reseal(one.driver, b"another key\0")), lambda: two.kept.save_cursor(held, b"2"),
        before=reseal.WRITE["liteq_cursors"],
    )  # fmt: skip
    assert saved
    assert storage.kept.cursor(lease.seq) == b"2"


def test_an_operation_has_one_owner(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    storage.operations.create(Wanted("op", "revoke", "", b"{}", None, "me", "", "test", 1))
    seen = storage.operations.find("op")
    assert seen is not None
    assert meet(lambda: one.operations.take(seen, "a"), lambda: two.operations.take(seen, "b")) == (True, False)


def test_two_workers_that_enter_at_once_see_each_other(meet: Meet, one: Storage, two: Storage) -> None:
    """Each would take the name that is free."""

    def enter(storage: Storage) -> str:
        def rename(me: WorkerIdentity, others: Sequence[WorkerRecord]) -> WorkerIdentity:
            return replace(me, name=f"w{len(others)}")

        me = WorkerIdentity(new_id(), "w", "host", "boot", 1, "1")
        return storage.workers.enter_named(me, rename)[1].name

    assert set(meet(lambda: enter(one), lambda: enter(two))) == {"w0", "w1"}
