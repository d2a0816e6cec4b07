"""A conversation that two agents save at once."""

from __future__ import annotations

from liteq.storage.kept.conversations import Entry, Record
from liteq.storage.storage import Storage

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
