"""Conversations of agents, added to by two at a time."""

from __future__ import annotations

from liteq.storage.facades.keeping.sessions import Sessions
from liteq.storage.storage import Storage

from .conftest import Meet


def test_items_of_two_that_add_at_once_stand_side_by_side(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    first, second, reader = (Sessions(of.driver, of.clock) for of in (one, two, storage))
    meet(lambda: first.add("s", [b"1", b"2"]), lambda: second.add("s", [b"3", b"4"]))
    assert reader.items("s") == [b"1", b"2", b"3", b"4"]


def test_two_that_take_at_once_take_different_items(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    first, second, reader = (Sessions(of.driver, of.clock) for of in (one, two, storage))
    reader.add("s", [b"1", b"2", b"3"])
    assert meet(lambda: first.take("s"), lambda: second.take("s")) == (b"3", b"2")
    assert reader.items("s") == [b"1"]
