"""Budgets that are shared: set, listed, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from liteq.storage.driver import Transaction
from liteq.storage.spending import waking
from liteq.storage.spending.accounts import lock
from liteq.storage.spending.kinds import Limit

__all__ = ["declare", "declared", "delete", "document", "write"]

DECLARED = "SELECT key, declared FROM liteq_budgets WHERE declared IS NOT NULL"
# Another limit counts what is spent and held on; another period begins anew.
WRITE = """
INSERT INTO liteq_budgets (key, what, most, period_ms, since_ms, soft, asks, declared)
VALUES (:key, :what, :most, :period_ms, :since_ms, :soft, :asks, :declared)
ON CONFLICT (key, what) DO UPDATE
   SET most = excluded.most, soft = excluded.soft, asks = excluded.asks, refused = 0, warned = 0,
       declared = coalesce(excluded.declared, liteq_budgets.declared),
       spent = CASE WHEN coalesce(excluded.period_ms, 0) = coalesce(liteq_budgets.period_ms, 0)
                    THEN liteq_budgets.spent ELSE 0 END,
       since_ms = CASE WHEN coalesce(excluded.period_ms, 0) = coalesce(liteq_budgets.period_ms, 0)
                       THEN liteq_budgets.since_ms ELSE excluded.since_ms END,
       period_ms = excluded.period_ms
"""
DROP = "DELETE FROM liteq_budgets WHERE key = ? AND what = ?"
DELETE = "DELETE FROM liteq_budgets WHERE key = ?"


def write(tx: Transaction, key: str, limits: Sequence[Limit], *, now_ms: int, told: str | None = None) -> bool:
    """Set the limits of a shared budget, in place of those that it has; whether a run goes on. `told`: by the code."""
    lock(tx)
    kept = {what for what, *_ in limits}
    tx.executemany(DROP, [(key, what) for what in ("cost", "tokens", "requests") if what not in kept])
    for what, most, period_ms, soft, asks in limits:
        since_ms = now_ms - now_ms % period_ms if period_ms else now_ms
        row = {"key": key, "what": what, "most": most, "period_ms": period_ms, "since_ms": since_ms}
        tx.executemany(WRITE, [{**row, "soft": soft, "asks": asks, "declared": told}])
    return waking.wake_all(tx, key, now_ms=now_ms)


def declared(tx: Transaction) -> dict[str, str]:
    """The words of the code on budgets, by key; a read."""
    return dict(tx.execute(DECLARED))


def document(limits: Sequence[Limit]) -> str:
    """The note of a budget that the code declares."""
    return orjson.dumps(limits).decode()


def declare(tx: Transaction, wanted: Mapping[str, Sequence[Limit]], *, now_ms: int) -> None:
    """Take over the budgets in the code; one that was set at run time stands until the code says something else."""
    lock(tx)
    known = declared(tx)
    for key, limits in wanted.items():
        told = document(limits)
        if known.get(key) != told:
            write(tx, key, limits, now_ms=now_ms, told=told)


def delete(tx: Transaction, key: str, *, now_ms: int) -> bool:
    """Forget a shared budget: what waits for it goes on. False where there is none."""
    lock(tx)
    gone = tx.executemany(DELETE, [(key,)]) > 0
    if gone:
        waking.wake_all(tx, key, now_ms=now_ms)
    return gone
