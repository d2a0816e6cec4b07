"""Keys in trouble, as steps tell of them: the other side refuses, or fails.

A refusal pauses the key for every process. One that names no time pauses it for a second, doubled with each in a row.
Five failures in a row trip it: then one step at a time goes through, a probe, and each that fails pauses it longer. The
first that succeeds ends all that, and the waiting come in as fast as the other side took them before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.limits.keys import lock, paced_per_s
from liteq.storage.limits.ledger import TRIPS
from liteq.storage.limits.meeting import pause
from liteq.storage.limits.waiting import wake_all
from liteq.utils.records import NamedTuple

__all__ = ["Trouble", "failed", "is_shut", "passed", "refused", "troubled"]

LOOK = "SELECT paused_ms, fails, refused, pace, passed, since_ms FROM liteq_keys WHERE key = ?"
REFUSED = """
INSERT INTO liteq_keys (key, refused) VALUES (:key, :first)
ON CONFLICT (key) DO UPDATE SET refused = liteq_keys.refused + :first
"""
PACE = "UPDATE liteq_keys SET pace = :pace, passed = 0 WHERE key = :key"
FAILED = """
INSERT INTO liteq_keys (key, fails) VALUES (:key, 1) ON CONFLICT (key) DO UPDATE SET fails = liteq_keys.fails + 1
"""
PASSED = "UPDATE liteq_keys SET fails = 0, refused = 0, passed = passed + 1 WHERE key = ?"
FASTER = "UPDATE liteq_keys SET pace = :pace WHERE key = :key"
# The pause of an outage is over when it is.
WELL = "UPDATE liteq_keys SET paused_ms = :now_ms WHERE key = :key AND reason = :reason AND paused_ms > :now_ms"
RUNNING = "SELECT 1 FROM liteq_slots WHERE key = ? LIMIT 1"
FIRST_S: Final = 1.0  # the pause where none is named
LONGEST_S: Final = 60.0
LEAST_PACE: Final = 1_000  # thousandths of starts a second
SHARE: Final = 0.8  # of what the other side took: its window is not ours
OUTAGE: Final = "it fails: one step at a time tries it"
MET: Final = "it was asked for"


class Trouble(NamedTuple):
    """The state of a key: its last pause (ms), failures and refusals in a row, its pace, and what has passed since."""

    paused_ms: int | None = None
    fails: int = 0
    refused: int = 0
    pace: int | None = None
    passed: int = 0
    since_ms: int | None = None


def _look(tx: Transaction, key: str) -> Trouble:
    for row in tx.execute(LOOK, (key,)):
        return Trouble._make(row)
    return Trouble()


def doubled(times: int) -> float:
    """Seconds of the pause after so many in a row."""
    return float(min(LONGEST_S, FIRST_S * 2.0 ** min(max(times, 1) - 1, 16)))


def refused(tx: Transaction, key: str, wait_s: float | None, *, now_ms: int) -> int:
    """Pause `key`, as the other side asked (None: it named no time); when that is over, in ms.

    Of several times the latest stands. What passes while it is paused was taken before: so the pace is known then.
    """
    lock(tx)
    before = _look(tx, key)
    tx.executemany(REFUSED, [{"key": key, "first": int(wait_s is None)}])
    if wait_s is None:
        wait_s = doubled(before.refused + 1)
    until_ms = now_ms + int(wait_s * 1000)
    if before.paused_ms is None or before.paused_ms <= now_ms:  # the first of those that were in flight
        tx.executemany(PACE, [{"key": key, "pace": _pace_after(before, now_ms)}])
    pause(tx, key, until_ms=until_ms, reason=MET, now_ms=now_ms)
    return max(until_ms, before.paused_ms or 0)


def _pace_after(before: Trouble, now_ms: int) -> int:
    """The pace behind another refusal: half of what it was, or the least, until it is known what passed."""
    if before.pace is None:
        return LEAST_PACE
    return max(LEAST_PACE, int(paced_per_s(before.paused_ms, now_ms, before.pace) * 500))


def failed(tx: Transaction, keys: Sequence[str], *, now_ms: int) -> bool:
    """Count a failure of a step under `keys`; whether one of them lets only probes through now.

    Each failure from the fifth on pauses the key, for a second at first.
    """
    lock(tx)
    tripped = False
    for key in keys:
        tx.executemany(FAILED, [{"key": key}])
        fails = _look(tx, key).fails
        if fails >= TRIPS:
            tripped = True
            until_ms = now_ms + int(doubled(fails - TRIPS + 1) * 1000)
            pause(tx, key, until_ms=until_ms, reason=OUTAGE, now_ms=now_ms)
    return tripped


def troubled(tx: Transaction, keys: Sequence[str], *, now_ms: int) -> list[str]:
    """Those of `keys` of which it matters that a step has succeeded; a read."""
    found = []
    for key in keys:
        state = _look(tx, key)
        if state.fails or state.refused or (state.paused_ms is not None and state.paused_ms > now_ms):
            found.append(key)
    return found


def passed(tx: Transaction, keys: Sequence[str], *, now_ms: int) -> bool:
    """Note that a step has succeeded under keys in trouble; whether a run that waits goes on.

    One that had failed is well. Of one that is paused for a refusal, what passes meanwhile tells its pace.
    """
    lock(tx)
    woke = False
    for key in keys:
        before = _look(tx, key)
        tx.executemany(PASSED, [(key,)])
        if before.paused_ms is not None and before.paused_ms > now_ms and before.pace is not None:
            span_s = max(1.0, (before.paused_ms - (before.since_ms or now_ms)) / 1000)
            pace = max(before.pace, int((before.passed + 1) / span_s * 1000 * SHARE))
            tx.executemany(FASTER, [{"key": key, "pace": pace}])
        if before.fails >= TRIPS:
            tx.executemany(WELL, [{"key": key, "now_ms": now_ms, "reason": OUTAGE}])
            woke |= wake_all(tx, key, now_ms=now_ms)
    return woke


def is_shut(tx: Transaction, keys: Sequence[str], *, now_ms: int) -> bool:
    """Whether one of `keys` is paused, or fails and is being probed; a read."""
    for key in keys:
        state = _look(tx, key)
        if state.paused_ms is not None and state.paused_ms > now_ms:
            return True
        if state.fails >= TRIPS and tx.execute(RUNNING, (key,)):
            return True
    return False
