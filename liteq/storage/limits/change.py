"""The verbs that change limits: each is in force from its commit on, and rewrites no message that waits.

What runs already gets its place, so that it counts; what is held is looked at anew, by its lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.limits import keys, lines, places
from liteq.storage.limits.ledger import parsed
from liteq.storage.limits.rules import Rules, pattern_of, read

__all__ = ["look_at_held", "place_running", "prune"]

RUNNING = "SELECT seq, token, task, queue, keys FROM liteq_messages WHERE state = 'leased'"
# Of a pause that is over: it limits nothing.
EMPTY: Final = """
DELETE FROM liteq_limits
 WHERE rate IS NULL AND concurrent IS NULL AND tokens IS NULL AND declared IS NULL
   AND NOT EXISTS (SELECT 1 FROM liteq_keys AS k WHERE k.key = liteq_limits.key AND k.paused_ms IS NOT NULL)
"""


def place_running(tx: Transaction, changed: Collection[str], *, now_ms: int) -> None:
    """Give places to what runs under these limits, as they are now, and has none."""
    rules = read(tx)
    if not any((rule := rules.by_key.get(key)) is not None and rule.concurrent is not None for key in changed):
        return
    found = []
    for seq, token, task, queue, text in tx.execute(RUNNING):
        for key in _keys(rules, task, queue, text):
            rule = rules.of(key)
            if rule is not None and rule.concurrent is not None and rule.key in changed:
                found.append((key, seq, token, now_ms))
    places.take(tx, found)
    tx.executemany(places.MARK, [(seq,) for seq in {seq for _, seq, _, _ in found}])


def _keys(rules: Rules, task: str, queue: str, text: str | None) -> Iterable[str]:
    return (*rules.implied(task, queue), *parsed(text).limits)


def look_at_held(tx: Transaction, key: str, after: str, *, now_ms: int) -> str | None:
    """Have what waits for `key`, or for a key that it stands for, looked at now: a chunk of the keys after `after`.

    The last of the chunk; None where that was all.
    """
    head, star, _ = key.partition("*")
    if not star:
        lines.touch(tx, [key], now_ms=now_ms)
        return None
    found = lines.keys_from(tx, head, after)
    fits = pattern_of(key).fullmatch
    lines.touch(tx, [one for one in found if fits(one)], now_ms=now_ms)
    return found[-1] if len(found) >= lines.CHUNK and found[-1].startswith(head) else None


def prune(tx: Transaction, *, now_ms: int, limit: int) -> int:
    """Forget up to `limit` keys of each kind that hold nothing back any more; how many."""
    tx.executemany(EMPTY, [{}])
    return keys.prune(tx, now_ms=now_ms, limit=limit) + places.sweep(tx, now_ms=now_ms, limit=limit)
