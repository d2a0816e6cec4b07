"""A conversation that two agents save at once."""

from __future__ import annotations

import pytest

from liteq.storage.kept.conversations import Entry, Record
from liteq.storage.storage import Storage

from ..test_conversations import chain, line, save
from .conftest import Meet


def record(revision: str) -> Record:
    return Record("c", None, revision, b"{}", 0)


def test_of_two_that_save_the_same_revision_one_is_told_to_look_again(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    """Else the message of one would be in no branch that anybody sees."""
    assert storage.conversations.write(record("r0"), ["e0"], [Entry("e0", None, b"0")], expected=None, head=None)

    def save(of: Storage, name: str) -> bool:
        return of.conversations.write(record(name), [name], [Entry(name, "e0", b"1")], expected="r0", head="e0")

    assert meet(lambda: save(one, "r1"), lambda: save(two, "r2")) == (True, False)
    found = storage.conversations.find("c")
    assert found is not None
    assert found.revision == "r1"


def test_of_two_that_begin_a_conversation_one_is_told_to_look_again(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    begun = meet(
        lambda: save(one, "c", "r1", ["e1"], chain("e1"), None), lambda: save(two, "c", "r2", ["e2"], chain("e2"), None)
    )
    assert begun == (True, False)
    found = storage.conversations.find("c")
    assert found is not None
    assert found.revision == "r1"
    assert storage.conversations.entry("e2") is None, "nothing of it is there"


def test_the_same_beginning_of_two_is_no_conflict(meet: Meet, storage: Storage, one: Storage, two: Storage) -> None:
    def begin(storage: Storage) -> bool:
        return save(storage, "c", "r1", ["e1"], chain("e1"), None)

    assert meet(lambda: begin(one), lambda: begin(two)) == (True, True)
    assert line(storage, "e1") == ["e1"]


@pytest.mark.parametrize("ends_in", ["2", "new"], ids=["at its end", "behind it"])
@pytest.mark.parametrize("deletes_first", [True, False])
def test_a_fork_of_a_conversation_that_is_deleted_has_its_messages_or_is_refused(
    meet: Meet, storage: Storage, one: Storage, two: Storage, deletes_first: bool, ends_in: str
) -> None:
    assert save(storage, "c", "r1", ["2"], chain("1", "2"), None)

    def fork(storage: Storage) -> bool:
        return save(storage, "fork", "r1", [ends_in], chain("new", after="2") if ends_in == "new" else [], None)

    def delete(storage: Storage) -> bool:
        return storage.conversations.delete("c", expected="r1")

    if deletes_first:
        _, forked = meet(lambda: delete(one), lambda: fork(two))
    else:
        forked, _ = meet(lambda: fork(one), lambda: delete(two))
    assert forked is not deletes_first
    assert line(storage, ends_in) == (["1", "2", "new"][: 3 if ends_in == "new" else 2] if forked else [])


def test_what_two_deleted_conversations_shared_is_gone(
    meet: Meet, storage: Storage, one: Storage, two: Storage
) -> None:
    assert save(storage, "c", "r1", ["2"], chain("1", "2"), None)
    assert save(storage, "fork", "r1", ["3"], chain("3", after="2"), None)
    ended = meet(
        lambda: one.conversations.delete("c", expected="r1"), lambda: two.conversations.delete("fork", expected="r1")
    )
    assert ended == (True, True)
    assert [id_ for id_ in "123" if storage.conversations.entry(id_)] == []
