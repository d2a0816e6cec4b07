"""Reservations are settled in the transaction that records the attempt, or freed in the one that ends its lease.

An attempt whose lease ends while something is held for it was killed: nobody knows what it took, and that is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from liteq.message import Hold
from liteq.storage.driver import Transaction
from liteq.storage.spending import usage, waking
from liteq.storage.spending.accounts import Kin, accounts, kin_of, label, lock
from liteq.storage.spending.kinds import (
    NOTHING,
    Account,
    Amounts,
    Attempt,
    Place,
    Spend,
    Warned,
    at,
    both,
    label_of,
)
from liteq.storage.spending.reserving import summed
from liteq.utils.records import NamedTuple

__all__ = ["Settled", "Spent", "free", "give_back", "settle", "sweep"]

TAKE = """
DELETE FROM liteq_reserved WHERE seq = ? AND token = ? AND scope = ? AND pos = ? RETURNING amounts, tokens
"""
FREE = """
DELETE FROM liteq_reserved WHERE seq = ? AND token = ?
RETURNING gen, scope, pos, attempt, began_ms, name, amounts
"""
RELEASE = both("UPDATE {table} SET held = CASE WHEN held > :amount THEN held - :amount ELSE 0 END WHERE {place}")
SPEND = both("UPDATE {table} SET spent = spent + :amount WHERE {place}")
WARN = both("UPDATE {table} SET warned = 1 WHERE {place}")
LEARN = """
INSERT INTO liteq_spends (name, cost, tokens, requests) VALUES (:name, :cost, :tokens, :requests)
ON CONFLICT (name) DO UPDATE
   SET cost = CASE WHEN excluded.cost > liteq_spends.cost THEN excluded.cost ELSE liteq_spends.cost END,
       tokens = CASE WHEN excluded.tokens > liteq_spends.tokens THEN excluded.tokens ELSE liteq_spends.tokens END,
       requests = CASE WHEN excluded.requests > liteq_spends.requests THEN excluded.requests
                       ELSE liteq_spends.requests END
"""
ID = "SELECT id FROM liteq_messages WHERE seq = ?"
# Of leases that are over all the same: rows that another program changed, or a misfit that was buried.
STALE: Final = """
SELECT r.seq, r.token FROM liteq_reserved AS r
 WHERE NOT EXISTS (
    SELECT 1 FROM liteq_messages AS m WHERE m.seq = r.seq AND m.state = 'leased' AND m.token = r.token)
 LIMIT :limit
"""


class Spent(NamedTuple):
    """The spending of an attempt, to be written with its record. `memo`: the memo has answered, so it was saved.

    `ended`: it has returned, so that one that has spent nothing is known to spend nothing.
    """

    attempt: Attempt
    spends: Sequence[Spend] = ()
    memo: bool = False
    ended: bool = True


class Settled(NamedTuple):
    """The budgets that people are to be warned of; whether a run woke; what limits have taken as tokens too much.

    `tokens`: (key, so many were taken beforehand), of limits.
    """

    warned: Sequence[Warned] = ()
    woke: bool = False
    tokens: Sequence[tuple[str, int]] = ()


def settle(tx: Transaction, hold: Hold, spent: Spent, *, now_ms: int) -> Settled:
    """Write what an attempt has spent, and give back what was held for it."""
    lock(tx)
    attempt, source = spent.attempt, "memo" if spent.memo else "model"
    held = tx.execute(TAKE, (hold.run, hold.token, attempt.scope, attempt.pos))
    if not spent.spends and not held:
        return Settled()
    amounts = [one for text, _ in held for one in orjson.loads(text)]
    tokens = [(key, n) for _, text in held for key, n in orjson.loads(text)]
    kin = kin_of(tx, hold.run)
    if spent.spends and not usage.write(
        tx, hold.run, hold.gen, attempt, spent.spends, kin, source=source, now_ms=now_ms
    ):
        return Settled()  # a write that was interrupted is made again
    taken = NOTHING if spent.memo else usage.total(spent.spends, without_price=_held_for(amounts, "cost"))
    if (spent.spends and not spent.memo) or (spent.ended and not spent.memo and held):
        tx.executemany(LEARN, [{"name": attempt.name, **taken._asdict()}])
    found = accounts(tx, kin, now_ms=now_ms)
    released = summed(amounts)
    warned = _book(tx, kin, found, taken, released)
    woke = [waking.wake_first(tx, name, now_ms=now_ms) for name in _labels(tx, kin, found, released)]
    return Settled(warned, any(queue is not None for queue in woke), tokens)


def _held_for(amounts: Sequence[Sequence[Any]], what: str) -> int:
    """So much was held of `what`, by the budget that has most: what an unknown price is taken for."""
    return max((one[3] for one in amounts if one[2] == what), default=0)


def _book(
    tx: Transaction, kin: Kin, found: Sequence[Account], taken: Amounts, released: Mapping[Place, int]
) -> list[Warned]:
    _release(tx, released)
    warned = []
    for account in found:
        amount: int = getattr(taken, account.what)
        if not amount:
            continue
        tx.executemany(SPEND[account.run > 0], at(account.place, amount=amount))
        after = account.spent + amount
        if account.soft is not None and not account.warned and after >= account.soft * account.most:
            tx.executemany(WARN[account.run > 0], at(account.place))
            warned.append(Warned(label(kin, account), account.what, after, account.most))
    return warned


def _release(tx: Transaction, released: Mapping[Place, int]) -> None:
    for place, amount in sorted(released.items()):
        tx.executemany(RELEASE[place[0] > 0], at(place, amount=amount))


def _labels(tx: Transaction, kin: Kin, found: Iterable[Account], released: Mapping[Place, int]) -> list[str]:
    """The budgets that were touched, by their names."""
    names = {label(kin, account) for account in found}
    known = {account.place for account in found}
    for run, key, _ in released:
        if not any(place[:2] == (run, key) for place in known):
            names.add(_label(tx, run, key))
    return sorted(names)


def _label(tx: Transaction, run: int, key: str) -> str:
    return label_of(next((id_ for (id_,) in tx.execute(ID, (run,))), str(run)), key)


def give_back(tx: Transaction, hold: Hold, attempt: Attempt, *, now_ms: int) -> bool:
    """Free what is held for an attempt that does not count: the other side was asked to be asked later."""
    lock(tx)
    for text, _ in tx.execute(TAKE, (hold.run, hold.token, attempt.scope, attempt.pos)):
        return bool(_woken(tx, text, now_ms))
    return False


def _woken(tx: Transaction, amounts: str, now_ms: int) -> set[str]:
    released = summed(orjson.loads(amounts))
    _release(tx, released)
    names = {_label(tx, run, key) for run, key, _ in released}
    return {queue for name in names if (queue := waking.wake_first(tx, name, now_ms=now_ms)) is not None}


def free(tx: Transaction, leases: Iterable[tuple[int, int]], *, now_ms: int) -> set[str]:
    """Free what is held under leases (row number, token) that end; the queues of runs that go on.

    Each attempt that it was held for was killed: that is written as usage that nobody knows.
    """
    queues = set[str]()
    for seq, token in leases:
        for gen, scope, pos, number, began_ms, name, amounts in tx.execute(FREE, (seq, token)):
            attempt = Attempt(scope, pos, number, began_ms, name)
            usage.write(
                tx, seq, gen, attempt, [Spend(requests=0)], kin_of(tx, seq), source="unknown", now_ms=now_ms
            )  # fmt: skip
            queues |= _woken(tx, amounts, now_ms)
    return queues


def sweep(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Free what is held under leases that are over all the same; how many leases that were."""
    stale = {(seq, token) for seq, token in tx.execute(STALE, {"limit": limit})}
    if stale:
        lock(tx)
        free(tx, stale, now_ms=now_ms)
    return len(stale)
