"""Places and tokens of a step, taken by the process that executes its run, and given back when the step has ended.

A place is the run's: it goes with the run's lease, like that of a message. A key of which the run has a place already
is not taken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.message import Hold
from liteq.storage.driver import Transaction
from liteq.storage.limits import places
from liteq.storage.limits.keys import lock
from liteq.storage.limits.ledger import Lack, Ledger
from liteq.storage.limits.rules import Rules
from liteq.storage.limits.waiting import how_many, wake_first
from liteq.utils.records import NamedTuple

__all__ = ["Taken", "leave", "settle_tokens", "take"]

HAS = "SELECT key FROM liteq_slots WHERE seq = ?"
WAKE: Final = """
UPDATE liteq_wakes SET at = :now_ms WHERE key = :key AND (at IS NULL OR at > :now_ms) RETURNING queue
"""
FREE = "DELETE FROM liteq_slots WHERE key = :key AND seq = :seq AND token = :token"


class Taken(NamedTuple):
    """The answer to a step that asks for its places: the `keys` of those it has got, or what it lacks.

    `lacks`: the key; `at_ms`: when it is this run's turn, None: when a place is free. `shut`: that key is paused, or
    fails and is probed by another step. `tokens`: (key, so many of a model's tokens) that were taken beforehand.
    """

    keys: tuple[str, ...] = ()
    lacks: str | None = None
    at_ms: int | None = None
    shut: bool = False
    tokens: tuple[tuple[str, int], ...] = ()


def take(
    tx: Transaction, rules: Rules, hold: Hold, keys: Sequence[str], *, again: bool, now_ms: int, tokens: int = 0
) -> Taken:
    """Take a place and a token under each of `keys`, all or none; and `tokens` of a model's where those are limited.

    `again`: a step that was sent begins once more; the claim of its message has taken its places, so tokens alone.
    """
    lock(tx)
    had = set() if again else {key for (key,) in tx.execute(HAS, (hold.run,))}
    wanted = [key for key in dict.fromkeys(keys) if key not in had]
    ledger = Ledger(tx, rules, now_ms)
    lack = ledger.lack(wanted, placed=again, tokens=tokens)
    if lack is not None:
        return Taken((), lack.key, _turn_ms(tx, lack, hold.run), lack.shut)
    placed = ledger.take(wanted, placed=again)
    counted = ledger.take_tokens(wanted, tokens)
    ledger.write()
    if placed:
        places.take(tx, [(key, hold.run, hold.token, now_ms) for key in placed])
        tx.executemany(places.MARK, [(hold.run,)])
    return Taken(tuple(placed), tokens=tuple((key, tokens) for key in counted))


def settle_tokens(tx: Transaction, rules: Rules, taken: Sequence[tuple[str, int]], used: int, *, now_ms: int) -> None:
    """Take what a step has used beyond what was taken of a model's tokens beforehand, or give the rest back."""
    ledger = Ledger(tx, rules, now_ms)
    for key, before in taken:
        ledger.take_tokens([key], used - before)
    ledger.write()


def _turn_ms(tx: Transaction, lack: Lack, run: int) -> int | None:
    """When there is a token for this run: those that wait for one before it have theirs first."""
    if lack.at_ms is None or not lack.per_s or lack.shut:
        return lack.at_ms
    return lack.at_ms + int(how_many(tx, lack.key, run) * 1000 / lack.per_s)


def leave(tx: Transaction, hold: Hold, keys: Sequence[str], *, now_ms: int) -> bool:
    """Give places back; whether something woke that waits for one."""
    woke = False
    lock(tx)
    for key in keys:
        params = {"key": key, "seq": hold.run, "token": hold.token, "now_ms": now_ms}
        if tx.executemany(FREE, [params]):
            woke |= bool(tx.execute(WAKE, params))
            woke |= wake_first(tx, key, now_ms=now_ms) is not None
    return woke
