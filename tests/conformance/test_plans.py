"""The statements that every task goes through build no temporary b-tree.

Each costs a page cache that is given back to the system and faulted in again: 80 page faults a task where a partial
index had an IN list, and where an UPDATE returned its rows.
"""

from __future__ import annotations

import re

import pytest

from liteq.storage import claim, continuation, enqueue, settle
from liteq.storage.runs import executing, showing
from liteq.storage.steps import activation, asking, birth, rows, suspend, wake
from liteq.storage.storage import Storage

HOT = {
    "enqueue": [enqueue.INSERT],
    "claim": [claim.NEXT, claim.TAKE, claim.NEXT_DUE, claim.ANY_PENDING, claim.DUE, claim.PROMOTE],
    "settle": [
        settle.ACK, settle.ACK_AND_VANISH, settle.RETRY, settle.DEAD, settle.CANCEL, settle.RELEASE,
        settle.HANDED_BACK, settle.REJECTED, settle.CRASHED, settle.BECOME_ALIAS,
    ],
    "continuation": [
        continuation.AWAITING, continuation.UNBLOCK, continuation.FAIL, continuation.SUCCEED_ALIAS,
        continuation.COUNT_DOWN, continuation.COUNTED_DOWN, continuation.CLOSE_GROUP,
    ],
    "a step": [
        rows.CHECKPOINT, rows.CHECKPOINT_FIRST, rows.READ, rows.WRITE, rows.WRITE_NEW, rows.WRITE_BODY,
        executing.HELD_BY, showing.SET, showing.EMIT, showing.LAST,
    ],
    "a run": [
        birth.ADD, activation.LOOK, activation.BEGIN, activation.BEGUN, suspend.STATE, suspend.NEXT_DUE, suspend.LET_GO,
        suspend.SLEEP, suspend.NAMES_IN_INBOX, suspend.IN_INBOX,
        wake.WAKE, wake.WAKE_BY_CHILD, wake.WAITS_FOR_CHILD, wake.CHILD,
        wake.COUNT_END, wake.END, wake.NEXT_OF_SLOT, wake.GIVE_SLOT, asking.ASK,
    ],
}  # fmt: skip


def operations(storage: Storage, sql: str) -> list[str]:
    names = re.findall(r":(\w+)", sql)
    params = dict.fromkeys(names) if names else (None,) * sql.count("?")
    with storage.driver.read() as tx:
        return [row[1] for row in tx.execute(f"EXPLAIN {sql}", params)]


@pytest.mark.parametrize("verb", HOT)
def test_a_hot_statement_builds_no_temporary_b_tree(storage: Storage, verb: str) -> None:
    guilty = [sql for sql in HOT[verb] if "OpenEphemeral" in operations(storage, sql)]
    assert guilty == []


def test_the_look_finds_one_where_there_is_one(storage: Storage) -> None:
    some = "SELECT seq FROM liteq_messages LIMIT 1"
    sql = f"UPDATE liteq_messages SET state = 'pending' WHERE seq IN ({some}) RETURNING seq"
    assert "OpenEphemeral" in operations(storage, sql)
