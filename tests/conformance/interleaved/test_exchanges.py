"""Bindings of exchanges, and messages that pass, while others bind, listen, read and leave."""

from __future__ import annotations

import pytest

from liteq.storage.sending.bindings import Binding
from liteq.storage.storage import Storage

from .conftest import Meet

BOUND = Binding("x", "k", "q", "topic")


def rows(storage: Storage) -> int:
    with storage.driver.read() as tx:
        return int(tx.execute("SELECT count(*) FROM liteq_passing")[0][0])


def test_a_binding_of_two_is_there_once(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    meet(lambda: one.exchanges.bind("x", "k", "q"), lambda: two.exchanges.bind("x", "k", "q", kind="topic"))
    assert storage.exchanges.bindings("x") == [BOUND], "the last one says which kind it is"


@pytest.mark.parametrize("binds_first", [True, False])
def test_a_queue_that_is_bound_while_it_is_forgotten_is_bound_or_not(
    meet: Meet, storage: Storage, one: Storage, two: Storage, binds_first: bool
) -> None:
    storage.exchanges.bind("x", "old", "q")
    if binds_first:
        _, gone = meet(lambda: one.exchanges.bind("x", "k", "q"), lambda: two.exchanges.forget(queue="q"))
    else:
        gone, _ = meet(lambda: one.exchanges.forget(queue="q"), lambda: two.exchanges.bind("x", "k", "q"))
    left = storage.exchanges.bindings("x")
    assert gone + len(left) == 2, "each is forgotten or there, and none is both"
    assert Binding("x", "old", "q") not in left
    if not binds_first:
        assert left == [Binding("x", "k", "q")]


def test_a_binding_is_taken_back_once(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    storage.exchanges.bind("x", "k", "q")
    found = meet(lambda: one.exchanges.unbind("x", "k", "q"), lambda: two.exchanges.unbind("x", "k", "q"))
    assert found == (True, False)


@pytest.mark.parametrize("listens_first", [True, False])
def test_one_that_listens_while_a_message_passes_hears_it_if_it_was_there_before(
    meet: Meet, storage: Storage, one: Storage, two: Storage, listens_first: bool
) -> None:
    storage.exchanges.listen("c", "other", patience_s=60)
    if listens_first:
        place, _ = meet(lambda: one.exchanges.listen("c", "me", patience_s=60), lambda: two.exchanges.send("c", b"1"))
        assert [passed.body for passed in storage.exchanges.after("c", place)] == [b"1"]
    else:
        _, place = meet(lambda: one.exchanges.send("c", b"1"), lambda: two.exchanges.listen("c", "me", patience_s=60))
    storage.exchanges.send("c", b"2")
    assert [passed.body for passed in storage.exchanges.after("c", place)][-1] == b"2"


def test_of_two_that_empty_a_channel_each_message_goes_to_one(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    storage.exchanges.listen("replies", "me", patience_s=60)
    for n in range(4):
        storage.exchanges.send("replies", b"%d" % n)
    ours, theirs = meet(lambda: one.exchanges.take("replies", limit=2), lambda: two.exchanges.take("replies", limit=2))
    left = storage.exchanges.take("replies")
    assert [passed.body for passed in (*ours, *theirs, *left)] == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("reads_first", [True, False])
def test_what_one_has_read_stays_for_the_other(
    meet: Meet, storage: Storage, one: Storage, two: Storage, reads_first: bool
) -> None:
    places = [storage.exchanges.listen("c", name, patience_s=60) for name in "ab"]
    storage.exchanges.send("c", b"1")
    last = storage.exchanges.after("c", places[0])[-1].place

    def read(storage: Storage) -> bool:
        return storage.exchanges.renew("c", "a", last, patience_s=60)

    if reads_first:
        meet(lambda: read(one), lambda: two.exchanges.send("c", b"2"))
    else:
        meet(lambda: one.exchanges.send("c", b"2"), lambda: read(two))
    assert [passed.body for passed in storage.exchanges.after("c", places[1])] == [b"1", b"2"]
    assert [passed.body for passed in storage.exchanges.after("c", last)] == [b"2"]


def test_what_two_have_read_at_once_goes(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    for name in "ab":
        storage.exchanges.listen("c", name, patience_s=60)
    storage.exchanges.send("c", b"1")
    last = storage.exchanges.after("c", 0)[-1].place
    meet(
        lambda: one.exchanges.renew("c", "a", last, patience_s=60),
        lambda: two.exchanges.renew("c", "b", last, patience_s=60),
    )
    storage.exchanges.renew("c", "a", last, patience_s=60)  # whoever comes next clears away what is read by all
    assert rows(storage) == 0


@pytest.mark.parametrize("sends_first", [True, False])
def test_what_nobody_reads_any_more_does_not_stay(
    meet: Meet, storage: Storage, one: Storage, two: Storage, sends_first: bool
) -> None:
    storage.exchanges.listen("c", "me", patience_s=60)
    if sends_first:
        meet(lambda: one.exchanges.send("c", b"1"), lambda: two.exchanges.leave("me"))
    else:
        meet(lambda: one.exchanges.leave("me"), lambda: two.exchanges.send("c", b"1"))
    storage.exchanges.leave("another")  # whoever trims next
    assert rows(storage) == 0
