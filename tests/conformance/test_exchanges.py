"""Bindings of exchanges, and messages that pass: for those who listen now, from each one's own place."""

from __future__ import annotations

import pytest

from liteq.storage.sending.bindings import Binding
from liteq.storage.sending.passing import KEEP_MS
from liteq.storage.storage import Storage
from liteq.testing import FakeClock


def rows(storage: Storage, table: str = "liteq_passing") -> int:
    with storage.driver.read() as tx:
        return int(tx.execute(f"SELECT count(*) FROM {table}")[0][0])


# -- bindings --------------------------------------------------------------------------------------------------------


def test_bindings_are_found_by_exchange_and_by_queue(storage: Storage) -> None:
    exchanges = storage.exchanges
    exchanges.bind("x", "b", "q2")
    exchanges.bind("x", "b", "q1")
    exchanges.bind("x", "a", "q1")
    exchanges.bind("y", "mail.#", "q1", kind="topic")
    assert exchanges.bindings("x") == [Binding("x", "a", "q1"), Binding("x", "b", "q1"), Binding("x", "b", "q2")]
    assert exchanges.bound_to("q1")[-1] == Binding("y", "mail.#", "q1", "topic")
    assert exchanges.bindings("z") == []


def test_what_is_bound_already_is_not_written_again(storage: Storage) -> None:
    storage.exchanges.bind("x", "k", "q")
    version = storage.driver.version()
    storage.exchanges.bind("x", "k", "q")
    assert storage.driver.version() == version
    storage.exchanges.bind("x", "k", "q", kind="topic")
    assert storage.exchanges.bindings("x") == [Binding("x", "k", "q", "topic")]


def test_bindings_are_forgotten_one_by_one_by_queue_and_by_exchange(storage: Storage) -> None:
    exchanges = storage.exchanges
    for exchange, key, queue in (("x", "a", "q1"), ("x", "b", "q1"), ("x", "a", "q2"), ("y", "a", "q2")):
        exchanges.bind(exchange, key, queue)
    assert exchanges.unbind("x", "a", "q1")
    assert not exchanges.unbind("x", "a", "q1")
    assert exchanges.forget(queue="q2") == 2
    assert exchanges.bindings("x") == [Binding("x", "b", "q1")]
    assert exchanges.forget(exchange="x") == 1
    assert exchanges.bindings("x") == []


def test_another_kind_of_exchange_is_refused(storage: Storage) -> None:
    with pytest.raises(ValueError, match=r"'headers' is not kept here: use direct, topic, fanout"):
        storage.exchanges.bind("x", "", "q", kind="headers")


# -- messages that pass ----------------------------------------------------------------------------------------------


def test_nothing_is_written_where_nobody_listens(storage: Storage, clock: FakeClock) -> None:
    assert not storage.exchanges.send("c", b"1")
    storage.exchanges.listen("c", "me", patience_s=10)
    storage.exchanges.listen("other", "me", patience_s=100)
    clock.advance(seconds=10)
    version = storage.driver.version()
    assert not storage.exchanges.send("c", b"2"), "its listener is gone"
    assert storage.driver.version() == version
    assert rows(storage) == 0


def test_the_newest_changes_with_each_message_and_command_whatever_has_been_taken(storage: Storage) -> None:
    exchanges = storage.exchanges
    seen = [exchanges.newest()]
    exchanges.listen("c", "me", patience_s=60)
    for _ in range(2):
        assert exchanges.send("c", b"1")
        assert exchanges.newest() not in seen
        seen.append(exchanges.newest())
        assert len(exchanges.take("c")) == 1
    storage.commands.send("ping", b"{}", wants_reply=False, expires_s=60)
    assert exchanges.newest() not in seen
    newest = exchanges.newest()
    assert newest == exchanges.newest()


def test_each_listener_reads_what_came_since_it_listens_once(storage: Storage) -> None:
    exchanges = storage.exchanges
    first = exchanges.listen("c", "a", patience_s=60)
    assert exchanges.send("c", b"1")
    second = exchanges.listen("c", "b", patience_s=60)
    exchanges.listen("d", "b", patience_s=60)
    assert exchanges.send("d", b"elsewhere")
    assert exchanges.send("c", b"2")
    assert [one.body for one in exchanges.after("c", first)] == [b"1", b"2"]
    assert [one.body for one in exchanges.after("c", second)] == [b"2"]
    (one,) = exchanges.after("c", first, limit=1)
    assert [one.body for one in exchanges.after("c", one.place)] == [b"2"]
    assert exchanges.size("c", first) == 2


def test_a_listener_that_comes_back_goes_on_where_it_was(storage: Storage) -> None:
    exchanges = storage.exchanges
    place = exchanges.listen("c", "a", patience_s=60)
    exchanges.send("c", b"1")
    assert exchanges.listen("c", "a", patience_s=60) == place
    exchanges.renew("c", "a", exchanges.after("c", place)[-1].place, patience_s=60)
    assert exchanges.after("c", exchanges.listen("c", "a", patience_s=60)) == []


def test_what_all_have_read_goes_and_no_number_comes_again(storage: Storage) -> None:
    exchanges = storage.exchanges
    a, b = (exchanges.listen("c", name, patience_s=60) for name in "ab")
    exchanges.send("c", b"1")
    last = exchanges.after("c", a)[-1].place
    assert exchanges.renew("c", "a", last, patience_s=60)
    assert [one.body for one in exchanges.after("c", b)] == [b"1"], "the other has not read it"
    assert exchanges.renew("c", "b", last, patience_s=60)
    assert rows(storage) == 0
    exchanges.send("c", b"2")
    assert [one.body for one in exchanges.after("c", last)] == [b"2"]


def test_what_nobody_reads_goes_with_its_listeners_and_with_time(storage: Storage, clock: FakeClock) -> None:
    exchanges = storage.exchanges
    exchanges.listen("c", "a", patience_s=60)
    exchanges.listen("d", "b", patience_s=2 * KEEP_MS)
    exchanges.send("c", b"1")
    exchanges.send("d", b"1")
    exchanges.leave("a")
    assert rows(storage) == 1
    clock.advance(seconds=KEEP_MS / 1000)
    exchanges.renew("d", "b", 0, patience_s=60)
    assert rows(storage) == 0


def test_a_listener_that_was_silent_too_long_is_told(storage: Storage, clock: FakeClock) -> None:
    exchanges = storage.exchanges
    place = exchanges.listen("c", "a", patience_s=60)
    clock.advance(seconds=60)
    exchanges.listen("c", "b", patience_s=60)
    assert not exchanges.renew("c", "a", place, patience_s=60)
    assert rows(storage, "liteq_listeners") == 1


def test_a_channel_of_one_listener_is_emptied_as_it_is_read(storage: Storage) -> None:
    exchanges = storage.exchanges
    exchanges.listen("replies", "me", patience_s=60)
    for n in range(3):
        exchanges.send("replies", b"%d" % n)
    assert [one.body for one in exchanges.take("replies", limit=2)] == [b"0", b"1"]
    assert [one.body for one in exchanges.take("replies")] == [b"2"]
    assert exchanges.take("replies") == []
    assert rows(storage) == 0
