"""The budgets that pay for a run: its own, those of its parents at any depth, and those of the tags of all of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.spending.kinds import Account, at, both, label_of
from liteq.utils.records import NamedTuple

__all__ = ["Kin", "accounts", "kin_of", "label", "lock", "rolled", "shared"]

DEEPEST: Final = 100  # of runs that have started each other
CHAIN: Final = f"""
WITH RECURSIVE up (seq, id, parent_id, depth) AS (
    SELECT seq, id, parent_id, 0 FROM liteq_messages WHERE seq = ?
    UNION ALL
    SELECT m.seq, m.id, m.parent_id, up.depth + 1 FROM up JOIN liteq_messages AS m ON m.id = up.parent_id
     WHERE up.depth < {DEEPEST})
SELECT up.seq, up.id, r.name, r.step FROM up LEFT JOIN liteq_runs AS r ON r.run = up.seq ORDER BY up.depth
"""
TAGS = "SELECT tag FROM liteq_run_tags WHERE run = ? ORDER BY tag"
_AMOUNTS: Final = "what, most, period_ms, since_ms, spent, held, soft, warned, asks, refused"
OF_RUN = f"SELECT run, '', {_AMOUNTS} FROM liteq_run_budgets WHERE run = ? ORDER BY what"
OF_TAG = f"SELECT 0, key, {_AMOUNTS} FROM liteq_budgets WHERE key = ? ORDER BY what"
SHARED = f"SELECT 0, key, {_AMOUNTS} FROM liteq_budgets ORDER BY key, what"
ROLL = both("UPDATE {table} SET since_ms = :since_ms, spent = 0, warned = 0, refused = 0 WHERE {place}")


class Kin(NamedTuple):
    """A run with those above it: (row number, id) from itself up; the name of its workflow, and the tags of all."""

    chain: tuple[tuple[int, str], ...]
    workflow: str
    tags: tuple[str, ...]


def lock(tx: Transaction) -> None:
    """Have no other transaction look at budgets or limits until this one has ended, where there are several writers.

    A budget is compared with what is spent and what is held before it is written, and a step that waits for it must see
    that something is given back, or be seen by the step that gives it.
    """
    tx.in_turn("liteq_limits")


def kin_of(tx: Transaction, run: int) -> Kin:
    """The run of this number, with what stands above it."""
    found = tx.execute(CHAIN, (run,))
    workflow = next((name for _, _, name, step in found if name is not None and not step), None)
    tags = dict.fromkeys(tag for seq, *_ in found for (tag,) in tx.execute(TAGS, (seq,)))
    return Kin(tuple((seq, id_) for seq, id_, *_ in found), workflow or (found[0][2] or "" if found else ""), (*tags,))


def accounts(tx: Transaction, kin: Kin, *, now_ms: int) -> list[Account]:
    """The limits of all budgets that pay for a run, in their order; of those by time in the period of now."""
    rows = [row for seq, _ in kin.chain for row in tx.execute(OF_RUN, (seq,))]
    rows += [row for tag in kin.tags for row in tx.execute(OF_TAG, (tag,))]
    return rolled(tx, sorted(map(Account._make, rows)), now_ms=now_ms)


def rolled(tx: Transaction, found: Sequence[Account], *, now_ms: int, write: bool = True) -> list[Account]:
    """`found`, of which those whose period is over begin anew. A period is one of the clock's: a day is one in UTC.

    Not `write`: only in what is returned.
    """
    fresh = []
    for account in found:
        since_ms = _since_ms(account.period_ms, now_ms)
        if since_ms is None or since_ms == account.since_ms:
            fresh.append(account)
            continue
        if write:
            tx.executemany(ROLL[account.run > 0], at(account.place, since_ms=since_ms))
        fresh.append(account._replace(since_ms=since_ms, spent=0, warned=0, refused=0))
    return fresh


def shared(tx: Transaction, *, now_ms: int) -> list[Account]:
    """The limits of the shared budgets, by key, as they stand now; a read."""
    return rolled(tx, list(map(Account._make, tx.execute(SHARED))), now_ms=now_ms, write=False)


def _since_ms(period_ms: int | None, now_ms: int) -> int | None:
    return None if not period_ms else now_ms - now_ms % period_ms


def label(kin: Kin, account: Account) -> str:
    """The name of the budget of `account`, which pays for this run."""
    return label_of(next((id_ for seq, id_ in kin.chain if seq == account.run), str(account.run)), account.key)
