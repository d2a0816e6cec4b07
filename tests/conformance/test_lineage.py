"""Messages that belong together: found from any of their ids, also where their rows bear no root."""

from __future__ import annotations

import pytest

from liteq.message import Batch, DeadLetter
from liteq.storage.reading import lineage

from .conftest import ERROR, chain_of, chord_of, row


def ids(found) -> set[str]:
    return {one.id for one in found.rows}


@pytest.mark.parametrize("asked", ["m0", "m2", "body", "g"])
def test_a_chord_that_was_sent_by_itself_is_found_by_its_group(storage, asked):
    storage.enqueue(chord_of(3))
    found = storage.views.lineage(asked)
    assert ids(found) == {"m0", "m1", "m2", "body"}
    assert [group.id for group in found.groups] == ["g"]
    assert found.complete


@pytest.mark.parametrize("asked", ["a", "b", "c"])
def test_a_chain_is_found_from_each_of_its_links(storage, asked):
    storage.enqueue(Batch(chain_of("a", "b", "c")))
    storage.enqueue(Batch([row("other")]))
    assert ids(storage.views.lineage(asked)) == {"a", "b", "c"}


def test_what_bears_a_root_is_found_by_it(storage):
    storage.enqueue(Batch([row("root")]))
    storage.enqueue(Batch([row(f"child{n}", root_id="root", parent_id="root") for n in range(5)]))
    assert ids(storage.views.lineage("child3")) == {"root", *(f"child{n}" for n in range(5))}
    assert storage.views.lineage("never") is None


def test_of_many_rows_some_are_read_and_it_says_so(storage):
    storage.enqueue(Batch([row("root")]))
    storage.enqueue(Batch([row(f"child{n}", root_id="root") for n in range(20)]))
    found = storage.views.lineage("root", limit=5)
    assert (len(found.rows), found.complete) == (5, False)


def test_the_messages_around_one(storage):
    storage.enqueue(chord_of(3))
    storage.enqueue(Batch([row("sent", root_id="m0", parent_id="m0")]))
    near = storage.views.kin("m0")
    assert [one.id for one in near.sent] == ["sent"]
    assert {one.id for one in near.members} == {"m1", "m2"}
    assert [one.id for one in near.awaited_by] == ["body"]
    assert near.group.remaining == 3
    assert {one.id for one in storage.views.kin("body").awaits} == {"m0", "m1", "m2"}
    assert storage.views.kin("never") == lineage.Near([], [], [], [], [], [], None)


def test_the_first_of_a_group_to_fail(storage, worker, clock):
    storage.enqueue(chord_of(3))
    assert storage.views.failed_of("g") is None
    for lease in worker.claim(3)[1:]:
        clock.advance(seconds=1)
        storage.settle([(lease, DeadLetter(ERROR))])
    assert storage.views.failed_of("g") == "m1"
