"""LangGraph's checkpoints as verbs: values over others, blobs that are counted, items that expire; on each engine."""

from __future__ import annotations

import pytest

from liteq.exceptions import LeaseLost
from liteq.message import Hold
from liteq.storage.graphs.records import BLOB, HASH, LIST, Blob, Checkpoint, Gone, Key, Value, Write
from liteq.storage.graphs.values import REBASE
from liteq.storage.storage import Storage
from liteq.testing import FakeClock


def hash_of(name: str) -> str:
    return name.ljust(HASH, "_")


def listed(version: int, *names: str, base: int | None = None, keep: int = 0) -> Value:
    data = "".join(map(hash_of, names)).encode()
    return Value("c", str(version), LIST, data, None if base is None else str(base), keep)


def blobs(*names: str) -> dict[str, Blob]:
    return {hash_of(name): Blob("m", name.encode()) for name in names}


def put(storage: Storage, n: int, value: Value, *names: str, thread: str = "t", hold: Hold | None = None) -> None:
    parent = str(n - 1) if n > 1 else None
    row = Checkpoint(thread, "", str(n), parent, "r", b'{"c":"%d"}' % int(value.version), "m", b"body")
    storage.graphs.put(row, [value], blobs(*names), hold)


def elements(storage: Storage, n: int, thread: str = "t") -> list[str]:
    found = storage.graphs.load(thread, "", str(n))
    assert found is not None
    value = found.values["c"]
    names = [value.data[at : at + HASH].decode() for at in range(0, len(value.data), HASH)]
    return [found.blobs[name].data.decode() for name in names]


def counted(storage: Storage) -> dict[str, int]:
    with storage.driver.read() as tx:
        return {name.rstrip("_"): n for name, n in tx.execute("SELECT hash, refs FROM liteq_graph_blobs")}


def test_a_list_is_the_one_of_before_and_what_is_new(storage: Storage) -> None:
    put(storage, 1, listed(1, "a", "b"), "a", "b")
    put(storage, 2, listed(2, "c", base=1, keep=2), "c")
    put(storage, 3, listed(3, "d", base=2, keep=1), "d")
    assert [elements(storage, n) for n in (1, 2, 3)] == [["a", "b"], ["a", "b", "c"], ["a", "d"]]
    assert counted(storage) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_list_stands_by_itself_again_after_so_many_versions(storage: Storage) -> None:
    put(storage, 1, listed(1, "a"), "a")
    for n in range(2, REBASE + 3):
        put(storage, n, listed(n, base=n - 1, keep=1))
    assert elements(storage, REBASE + 2) == ["a"]
    assert counted(storage) == {"a": 2}


def test_a_value_over_one_that_is_gone_is_refused_and_nothing_is_stored(storage: Storage) -> None:
    with pytest.raises(Gone):
        put(storage, 2, listed(2, "c", base=1, keep=2), "c")
    with pytest.raises(Gone):
        put(storage, 2, listed(2, "lost"))
    assert storage.graphs.load("t", "", "2") is None
    assert counted(storage) == {}


def test_blobs_leave_with_the_last_row_that_names_them(storage: Storage) -> None:
    put(storage, 1, listed(1, "a", "a", "b"), "a", "b")
    storage.graphs.put_writes(Key("t", "", "1"), [Write("k", 0, "", "c", BLOB, hash_of("b").encode())], blobs("b"))
    storage.graphs.copy("t", "other")
    assert counted(storage) == {"a": 4, "b": 4}
    storage.graphs.delete_thread("t")
    assert counted(storage) == {"a": 2, "b": 2}
    assert elements(storage, 1, "other") == ["a", "a", "b"]
    storage.graphs.delete_for_runs(["r"])
    assert counted(storage) == {}


def test_a_prune_keeps_what_its_lists_are_built_on(storage: Storage) -> None:
    put(storage, 1, listed(1, "a", "b"), "a", "b")
    put(storage, 2, listed(2, "x"), "x")
    put(storage, 3, listed(3, "c", base=1, keep=2), "c")
    storage.graphs.prune("t", "", {"3"})
    assert elements(storage, 3) == ["a", "b", "c"]
    assert [key.id for key in storage.graphs.keys(thread="t", ns=None, id_=None, before=None, limit=None)] == ["3"]
    assert counted(storage) == {"a": 1, "b": 1, "c": 1}
    assert storage.graphs.load("t", "", "3").checkpoint.parent is None  # type: ignore[union-attr]


def test_writes_stay_but_for_the_special_ones(storage: Storage) -> None:
    key = Key("t", "", "1")
    put(storage, 1, listed(1, "a"), "a")
    for text in (b"one", b"two"):
        storage.graphs.put_writes(key, [Write("k", n, "p", "c", "m", text) for n in (0, -3)], {})
    found = storage.graphs.load("t", "", None)
    assert found is not None
    assert [(write.idx, write.data) for write in found.writes] == [(-3, b"two"), (0, b"one")]


def test_a_run_without_its_lease_stores_nothing(storage: Storage) -> None:
    with pytest.raises(LeaseLost):
        put(storage, 1, listed(1, "a"), "a", hold=Hold(7, 1, 0))
    assert storage.graphs.load("t", "", None) is None


def test_items_are_below_their_namespace_until_they_expire(storage: Storage, clock: FakeClock) -> None:
    for prefix, ttl_ms in (("a", None), ("a.b", 60_000), ("ab", None)):
        storage.graphs.put_items([(prefix, "k", b"{}", None, ttl_ms)])
    assert {one.prefix for one in storage.graphs.search("a", first="a.", last="a/")} == {"a", "a.b"}
    assert storage.graphs.prefixes() == ["a", "a.b", "ab"]
    clock.advance(seconds=61)
    assert storage.graphs.items([("a.b", "k")]) == [None]
    assert storage.graphs.prefixes() == ["a", "ab"]
    assert storage.runs.expire(None) == 1
    storage.graphs.put_items([("a", "k", None, None, None)])
    assert storage.graphs.prefixes() == ["ab"]
