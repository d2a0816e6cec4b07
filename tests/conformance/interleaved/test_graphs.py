"""Checkpoints of one thread that are stored, copied and cleared away by two at a time."""

from __future__ import annotations

from contextlib import suppress

import pytest

from liteq.storage.graphs import leave, values
from liteq.storage.graphs import put as of_put
from liteq.storage.graphs.records import BLOB, Key, Write
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from ..test_graphs import blobs, counted, elements, hash_of, listed, put
from .conftest import Meet


@pytest.mark.parametrize("before", [None, values.BASES], ids=["at the end", "halfway"])
@pytest.mark.parametrize("prunes_first", [True, False])
def test_a_checkpoint_that_comes_while_others_are_pruned_keeps_its_values(
    meet: Meet, storage: Storage, one: Storage, two: Storage, prunes_first: bool, before: str | None
) -> None:
    put(storage, 1, listed(1, "a"), "a")
    put(storage, 2, listed(2, "b", base=1, keep=1), "b")
    if prunes_first:
        prune, add = one, two
    else:
        prune, add, before = two, one, None

    def clear() -> None:
        prune.graphs.prune("t", "", {"2"})

    def store() -> None:
        put(add, 3, listed(3, "c", base=2, keep=2), "c")

    meet(*((clear, store) if prunes_first else (store, clear)), before=before)
    assert elements(storage, 3) == ["a", "b", "c"]
    storage.graphs.delete_thread("t")
    assert counted(storage) == {}


def test_a_branch_that_leaves_an_older_checkpoint_while_it_is_pruned_has_its_list(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    put(storage, 1, listed(1, "a"), "a")
    put(storage, 2, listed(2, "b"), "b")
    meet(
        lambda: put(one, 3, listed(3, "c", base=1, keep=1), "c"),
        lambda: two.graphs.prune("t", "", {"2"}),
        before=of_put.PUT,
    )
    assert elements(storage, 3) == ["a", "c"]


@pytest.mark.parametrize("before", [None, values.REPLACE], ids=["at the end", "halfway"])
def test_a_value_that_two_replace_gives_its_blobs_back_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, before: str | None
) -> None:
    """Else the blob is gone, although another thread names it."""
    for thread in ("t", "other"):
        put(storage, 1, listed(1, "a"), "a", thread=thread)
    meet(
        lambda: put(one, 1, listed(1, "b"), "b"),
        lambda: put(two, 1, listed(1, "c"), "c"),
        before=before,
    )
    assert counted(storage) in ({"a": 1, "b": 1}, {"a": 1, "c": 1})
    assert elements(storage, 1, "other") == ["a"]


def test_a_special_write_that_two_replace_gives_its_blob_back_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    put(storage, 1, listed(1, "a"), "a")

    def note(storage: Storage, name: str) -> None:
        write = Write("k", -3, "", "c", BLOB, hash_of(name).encode())
        storage.graphs.put_writes(Key("t", "", "1"), [write], blobs(name))

    note(storage, "a")
    meet(lambda: note(one, "b"), lambda: note(two, "c"), before=of_put.WRITE_AGAIN)
    assert counted(storage) in ({"a": 1, "b": 1}, {"a": 1, "c": 1})


@pytest.mark.parametrize("deletes_first", [True, False])
def test_a_thread_that_is_deleted_while_a_value_is_replaced_gives_its_blobs_back_once(
    meet: Meet, storage: Storage, one: Storage, two: Storage, deletes_first: bool
) -> None:
    for thread in ("t", "other"):
        put(storage, 1, listed(1, "a"), "a", thread=thread)
    if deletes_first:
        meet(lambda: one.graphs.delete_thread("t"), lambda: put(two, 1, listed(1, "b"), "b"), before=values.DELETE)
    else:
        meet(lambda: put(one, 1, listed(1, "b"), "b"), lambda: two.graphs.delete_thread("t"))
    storage.graphs.delete_thread("t")
    assert counted(storage) == {"a": 1}


def test_a_thread_is_copied_whole_while_it_goes_on(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    put(storage, 1, listed(1, "a"), "a")
    put(storage, 2, listed(2, "b"), "b")
    meet(lambda: one.graphs.copy("t", "new"), lambda: two.graphs.prune("t", "", {"2"}), before=leave.COPY_VALUES)
    assert [elements(storage, n, "new") for n in (1, 2)] == [["a"], ["b"]]


def test_of_two_that_copy_to_one_thread_one_is_refused(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    put(storage, 1, listed(1, "a"), "a")

    def copy(storage: Storage) -> bool:
        with suppress(ValueError):
            storage.graphs.copy("t", "new")
            return True
        return False

    assert sorted(meet(lambda: copy(one), lambda: copy(two), before=leave.COPY)) == [False, True]
    assert counted(storage) == {"a": 2}


@pytest.mark.parametrize("cached", [True, False], ids=["cache", "item"])
@pytest.mark.parametrize("stores_first", [True, False])
def test_what_is_stored_anew_while_it_expires_is_there(
    meet: Meet, storage: Storage, one: Storage, two: Storage, clock: FakeClock, stores_first: bool, cached: bool
) -> None:
    def store(storage: Storage) -> None:
        if cached:
            storage.graphs.cache([("k", "name", b"1", 60_000)])
        else:
            storage.graphs.put_items([("a", "k", b"1", None, 60_000)])

    store(storage)
    clock.advance(seconds=61)
    if stores_first:
        meet(lambda: store(one), lambda: two.runs.expire(None))
    else:
        meet(lambda: one.runs.expire(None), lambda: store(two))
    found = storage.graphs.cached(["k"]) if cached else storage.graphs.items([("a", "k")])
    assert found != [None]
