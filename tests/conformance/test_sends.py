"""Very many calls, part by part: the place in the file moves with the rows, or not at all."""

from __future__ import annotations

import pytest

from liteq.message import Ack, Batch, Flag, Message, new_id
from liteq.storage.facades.sends import Part
from liteq.storage.rows.payloads import INLINE_BYTES
from liteq.storage.sending import sends
from liteq.storage.storage import Storage
from liteq.testing import FakeClock

from .conftest import PAYLOAD, FakeWorker, Send

KIND = ("t", "celery", 0, 0)


def calls(*ids: str) -> tuple[tuple[str, str, int, int], list[str], list[bytes]]:
    return KIND, list(ids), [PAYLOAD] * len(ids)


def rows(storage: Storage) -> int:
    return sum(count.n for count in storage.reader.counts())


def test_a_part_moves_the_place(storage: Storage) -> None:
    assert storage.sends.place("night") == 0
    assert storage.sends.calls(calls("a", "b"), Part("night", 0, 2))
    assert storage.sends.batch(Batch([Message("c", "t", PAYLOAD)]), Part("night", 2, 3)) == 1
    assert (storage.sends.place("night"), storage.sends.place("other"), rows(storage)) == (3, 0, 3)


def test_a_part_that_others_have_sent_is_refused_whole(storage: Storage) -> None:
    assert storage.sends.calls(calls("a", "b"), Part("night", 0, 2))
    for write in (
        lambda: storage.sends.calls(calls("c"), Part("night", 0, 1)),
        lambda: storage.sends.batch(Batch([Message("c", "t", PAYLOAD)]), Part("night", 1, 2)),
        lambda: storage.sends.calls(calls("c"), Part("night", 5, 6)),
    ):
        with pytest.raises(sends.Moved) as told:
            write()
        assert told.value.place == 2
    assert (storage.sends.place("night"), rows(storage)) == (2, 2)


def test_the_place_does_not_move_where_the_calls_are_not_written(storage: Storage) -> None:
    assert storage.sends.calls(calls("a"))
    assert not storage.sends.calls(calls("z", "a"), Part("night", 0, 2)), "one is there: it takes the other way"
    large = (KIND, ["b"], [b'["' + b"x" * INLINE_BYTES + b'"]'])
    assert not storage.sends.calls(large, Part("night", 0, 1))
    assert (storage.sends.place("night"), rows(storage)) == (0, 1)
    batch = Batch([Message("z", "t", PAYLOAD), Message("a", "t", PAYLOAD)])
    assert storage.sends.batch(batch, Part("night", 0, 2)) == 1
    assert (storage.sends.place("night"), rows(storage)) == (2, 2)


def test_a_call_for_which_another_stands_is_not_counted(storage: Storage, send: Send) -> None:
    send(unique_key="k")
    batch = Batch([Message(new_id(), "t", PAYLOAD, unique_key="k"), Message(new_id(), "t", PAYLOAD)])
    assert storage.sends.batch(batch) == 1


def test_a_name_is_forgotten_90_days_after_its_last_part(storage: Storage, clock: FakeClock) -> None:
    storage.sends.calls(calls("a"), Part("old", 0, 1))
    clock.advance(seconds=90 * 86_400 - 1)
    storage.sends.calls(calls("b"), Part("new", 0, 1))
    storage.expire(result_expires_s=None, dead_expires_s=None)
    assert (storage.sends.place("old"), storage.sends.place("new")) == (1, 1)
    clock.advance(seconds=1)
    storage.expire(result_expires_s=None, dead_expires_s=None)
    assert (storage.sends.place("old"), storage.sends.place("new")) == (0, 1)


def test_what_vanished_is_not_sent_again(storage: Storage, worker: FakeWorker) -> None:
    """No row tells of it any more: the place alone does."""
    part = Part("night", 0, 1)
    storage.sends.batch(Batch([Message("a", "t", PAYLOAD, flags=Flag.IGNORE_RESULT)]), part)
    storage.settle([(worker.claim_one(), Ack(None))])
    assert rows(storage) == 0
    with pytest.raises(sends.Moved):
        storage.sends.batch(Batch([Message("a", "t", PAYLOAD, flags=Flag.IGNORE_RESULT)]), part)
