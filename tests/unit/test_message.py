"""Messages and their ids."""

from __future__ import annotations

import threading
from uuid import UUID

from liteq.clock import SystemClock
from liteq.message import DEPTH_SHIFT, Batch, Flag, Group, Lease, Message, depth_of, new_id, new_ids


def test_an_id_is_a_uuid_of_version_7_made_now():
    before = SystemClock().now_ms()
    made = UUID(new_id())
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= SystemClock().now_ms()


def test_ids_made_in_many_threads_are_all_different():
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.extend(new_id() for _ in range(1000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 4000


def test_ids_sort_by_the_millisecond_they_were_made_in():
    ids = [new_id() for _ in range(1000)]
    assert [i[:13] for i in ids] == sorted(i[:13] for i in ids)


def test_many_ids_at_once_are_such_ids_too_in_their_order():
    earlier = new_id()
    ids = new_ids(1000)
    assert {(UUID(one).version, UUID(one).variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert {str(UUID(one)) for one in ids} == set(ids)
    assert len(set(ids)) == 1000
    assert ids == sorted(ids)
    assert earlier[:18] <= ids[0][:18] == ids[-1][:18] <= new_id()[:18]
    assert new_ids(0) == []


def test_flags_are_single_bits():
    flags = [value for name, value in vars(Flag).items() if name.isupper()]
    assert len(set(flags)) == len(flags)
    assert all(flag.bit_count() == 1 and flag < 1 << 63 for flag in flags)  # an integer column holds no more
    assert depth_of(sum(flags)) == 0
    assert depth_of(sum(flags) | 1_000_000 << DEPTH_SHIFT) == 1_000_000


def test_a_batch_starts_empty_and_shares_nothing():
    first, second = Batch(), Batch()
    first.messages.append(Message("id", "app.add", b""))
    first.groups.append(Group("g", 1))
    assert (second.messages, second.groups) == ([], [])


def test_a_leases_fields_come_in_the_order_of_claims_returning():
    assert Lease._fields[:6] == ("seq", "token", "id", "task", "payload", "options")
    assert Lease._fields[-3:] == ("input", "run", "reaps")
