"""The one condition under which a finished row is still needed: something may yet take its result.

A follower takes the result of what it awaits when it is claimed, not before; a group's follower takes the results of
all members, of inner groups too. So a row is needed until each of these has *finished*: while it waits, while it runs,
while a worker's death may make it run once more, and while it is a dead letter that may be replayed.

`forget()`, retention, the deletion of dead letters, and a send under an id that was used before ask the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from liteq.states import FOLLOWED, UNFINISHED, State, sql_list
from liteq.storage.driver import LOCK, Transaction

__all__ = ["OPEN", "TAKERS", "TAKERS_OF_THE_DEAD", "excludes", "hold", "needed"]

HOLD: Final = f"SELECT seq FROM liteq_messages WHERE id = ? {LOCK}"

OPEN: Final = sql_list(UNFINISHED)
# A dead follower may be replayed; one that failed because of what came before it waits again when that is.
TAKERS: Final = sql_list(frozenset(State) - FOLLOWED)
# Whoever drops a dead letter gives up what waited for its replay; an errback still takes its error.
TAKERS_OF_THE_DEAD: Final = sql_list(UNFINISHED | {State.DEAD})


def needed(row: str, takers: str = TAKERS) -> str:
    """SQL: whether `row`, a message of the statement around, is needed by itself or for the result of a group.

    `takers`: the states of those who may still ask, a list in SQL.
    """
    return f"""(
        EXISTS (SELECT 1 FROM liteq_messages AS taker WHERE taker.awaits = {row}.id AND taker.state IN {takers})
        OR EXISTS (
            WITH RECURSIVE above (id, remaining, group_id) AS (
                SELECT own.id, own.remaining, own.group_id FROM liteq_groups AS own WHERE own.id = {row}.group_id
                UNION ALL
                SELECT o.id, o.remaining, o.group_id FROM above JOIN liteq_groups AS o ON o.id = above.group_id)
            SELECT 1 FROM above
             WHERE above.remaining > 0
                OR EXISTS (
                    SELECT 1 FROM liteq_messages AS taker
                     WHERE taker.awaits = above.id AND taker.state IN {takers})))"""


def excludes(row: str) -> str:
    """SQL: whether `row`, a message, excludes calls of its unique key for a time yet: its result is theirs too.

    A mark and its id stand behind the key of one that has started, and that excluded others until then (unique.py).
    """
    return f"""({row}.unique_key IS NOT NULL AND EXISTS (
        SELECT 1 FROM liteq_unique AS u
         WHERE u.key = replace({row}.unique_key, '\x1f' || {row}.id, '') AND u.id = {row}.id))"""


def hold(tx: Transaction, ids: Iterable[str]) -> None:
    """Lock these messages before a statement that deletes those that are not needed.

    A transaction that sends something behind one has it locked as well. So that statement, whose look at the others is
    as old as its beginning, begins when that something is there.
    """
    for id_ in sorted(ids):
        tx.execute(HOLD, (id_,))
