"""Conversations of agents: items side by side, written once by a step that is repeated."""

from __future__ import annotations

from liteq.storage.facades.keeping.sessions import Sessions
from liteq.storage.storage import Storage


def of(storage: Storage) -> Sessions:
    return Sessions(storage.driver, storage.clock)


def test_items_are_kept_in_order_and_apart(storage: Storage) -> None:
    sessions = of(storage)
    sessions.add("a", [b"1", b"2"])
    sessions.add("b", [b"9"])
    sessions.add("a", [b"3"])
    assert sessions.items("a") == [b"1", b"2", b"3"]
    assert sessions.items("a", limit=2) == [b"2", b"3"]
    assert sessions.items("b") == [b"9"]
    assert sessions.items("c") == []


def test_a_step_that_is_repeated_writes_once(storage: Storage) -> None:
    sessions = of(storage)
    assert sessions.add("a", [b"1", b"2"], step="k")
    assert not sessions.add("a", [b"1", b"2"], step="k")
    assert sessions.add("b", [b"1"], step="k"), "of another session"
    assert sessions.items("a") == [b"1", b"2"]


def test_a_step_that_is_repeated_takes_the_same_item(storage: Storage) -> None:
    sessions = of(storage)
    sessions.add("a", [b"1", b"2", b"3"])
    assert [sessions.take("a", step="k"), sessions.take("a", step="k")] == [b"3", b"3"]
    assert [sessions.take("a"), sessions.take("a", step="l"), sessions.take("a")] == [b"2", b"1", None]
    sessions.add("a", [b"4"])
    assert sessions.items("a") == [b"4"]


def test_a_session_is_forgotten_alone(storage: Storage) -> None:
    sessions = of(storage)
    sessions.add("a", [b"1", b"2"])
    sessions.add("b", [b"9"])
    assert sessions.clear("a") == 2
    assert (sessions.items("a"), sessions.items("b")) == ([], [b"9"])
