"""Conversations of agents: each message once, saved by revision, shared by forks, gone with the last that has it."""

from __future__ import annotations

from liteq.storage.kept.conversations import Entry, Record
from liteq.storage.storage import Storage


def record(id_: str, revision: str, *, scope: str | None = None, at: int = 1) -> Record:
    return Record(id_, scope, revision, b'{"of": "%s"}' % revision.encode(), at)


def chain(*ids: str, after: str | None = None) -> list[Entry]:
    parents = [after, *ids]
    return [Entry(id_, parents[i], b'"%s"' % id_.encode()) for i, id_ in enumerate(ids)]


def save(
    storage: Storage, id_: str, revision: str, tips: list[str], entries: list[Entry], expected: str | None
) -> bool:
    head = tips[0] if tips else None
    return storage.conversations.write(record(id_, revision), tips, entries, expected=expected, head=head)


def line(storage: Storage, tip: str, limit: int | None = None) -> list[str]:
    return [entry.id for entry in storage.conversations.history(tip, limit=limit)]


def test_a_conversation_grows_by_its_new_messages(storage: Storage) -> None:
    assert storage.conversations.find("c") is None
    assert save(storage, "c", "r1", ["2"], chain("1", "2"), None)
    assert save(storage, "c", "r2", ["4"], chain("3", "4", after="2"), "r1")
    assert storage.conversations.find("c") == record("c", "r2")
    assert line(storage, "4") == ["1", "2", "3", "4"]
    assert line(storage, "4", limit=2) == ["3", "4"]
    assert storage.conversations.entry("3") == Entry("3", "2", b'"3"')
    assert storage.conversations.entry("9") is None


def test_what_another_has_saved_is_not_overwritten(storage: Storage) -> None:
    assert save(storage, "c", "r1", ["1"], chain("1"), None)
    assert not save(storage, "c", "r2", ["2"], chain("2", after="1"), "r0")
    assert not save(storage, "c", "r2", ["2"], chain("2", after="1"), None)
    assert storage.conversations.entry("2") is None, "nothing of it is there"
    assert not save(storage, "d", "r1", ["9"], [], None), "it would end in a message that is gone"
    assert storage.conversations.find("d") is None


def test_the_same_save_again_is_no_conflict(storage: Storage) -> None:
    for _ in range(2):
        assert save(storage, "c", "r1", ["1"], chain("1"), None)
    assert line(storage, "1") == ["1"]


def test_they_are_listed_by_their_last_save(storage: Storage) -> None:
    for n, scope in enumerate(["a", "b", "a"]):
        assert storage.conversations.write(record(f"c{n}", "r", scope=scope, at=n), [], [], expected=None, head=None)
    assert [one.id for one in storage.conversations.list()] == ["c2", "c1", "c0"]
    assert [one.id for one in storage.conversations.list(scope="a")] == ["c2", "c0"]
    assert [one.id for one in storage.conversations.list(limit=1)] == ["c2"]


def test_a_delete_leaves_what_another_conversation_has(storage: Storage) -> None:
    assert save(storage, "c", "r1", ["3"], chain("1", "2", "3"), None)
    assert save(storage, "fork", "r1", ["b", "2"], chain("a", "b", after="1"), None)
    assert not storage.conversations.delete("c", expected="r0")
    assert storage.conversations.delete("c", expected="r1")
    assert not storage.conversations.delete("c", expected="r1")
    assert storage.conversations.entry("3") is None
    assert line(storage, "2") == ["1", "2"], "a branch of the other one"
    assert storage.conversations.delete("fork", expected="r1")
    assert [id_ for id_ in "123ab" if storage.conversations.entry(id_)] == []
