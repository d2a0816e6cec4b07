"""The verbs of beat: schedules as rows. Any number of beats share them, and each time of an entry fires once.

*take* moves `next_due_ms` on and *send* enqueues the message in one transaction, under the condition that `next_due_ms`
is still the time that the caller saw: a second beat changes no row, and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liteq.message import Batch
from liteq.storage.driver import LOCK, Row, Transaction
from liteq.storage.sending.enqueue import enqueue
from liteq.utils.records import NamedTuple

__all__ = [
    "Entry",
    "RunRecord",
    "ScheduleRecord",
    "delete",
    "due",
    "enable",
    "next_wake_ms",
    "put",
    "put_off",
    "ran_now",
    "runs",
    "schedules",
    "send",
    "synchronise",
    "take",
]

COLUMNS = """
SELECT name, owner, source, schedule, signature, enabled, next_due_ms, last_run_ms, last_id, total_run_count, created_ms
  FROM liteq_schedules
"""
ALL = COLUMNS + " ORDER BY name"
ONE = COLUMNS + " WHERE name = ?"
DUE = COLUMNS + " WHERE enabled = 1 AND next_due_ms <= ? ORDER BY next_due_ms, name LIMIT ? OFFSET ?"
NEXT = "SELECT min(next_due_ms) FROM liteq_schedules WHERE enabled = 1 AND next_due_ms > ?"
# A pause outlives a change of the configuration; so does the time that is due, unless the schedule itself has changed.
# SQL cannot tell: a payload codec may seal the same schedule in another way each time.
SCHEDULE = "SELECT schedule FROM liteq_schedules WHERE name = ?"
PUT = """
INSERT INTO liteq_schedules (name, owner, source, schedule, signature, enabled, next_due_ms, created_ms)
VALUES (:name, :owner, :source, :schedule, :signature, :enabled, :next_due_ms, :now_ms)
ON CONFLICT (name) DO UPDATE SET
    owner = :owner, source = :source, signature = :signature,
    enabled = CASE WHEN excluded.enabled = 0 THEN 0 ELSE liteq_schedules.enabled END,
    next_due_ms = CASE WHEN CAST(:same AS BIGINT) = 1 THEN liteq_schedules.next_due_ms ELSE :next_due_ms END,
    schedule = :schedule
 WHERE liteq_schedules.owner <> :owner OR liteq_schedules.source <> :source
    OR excluded.enabled < liteq_schedules.enabled
"""
OWNED = f"SELECT name FROM liteq_schedules WHERE owner = ? ORDER BY name {LOCK}"
DELETE = "DELETE FROM liteq_schedules WHERE name = ?"
ENABLE = "UPDATE liteq_schedules SET enabled = :enabled, next_due_ms = :next_due_ms WHERE name = :name"
FIRE = """
UPDATE liteq_schedules SET next_due_ms = :next_due_ms, last_run_ms = :now_ms, last_id = :last_id,
       total_run_count = total_run_count + :n
 WHERE name = :name AND next_due_ms = :due_ms AND source = :source AND enabled = 1
"""
PUT_OFF = """
UPDATE liteq_schedules SET next_due_ms = :next_due_ms
 WHERE name = :name AND next_due_ms = :due_ms AND source = :source AND enabled = 1
"""
LAST = "UPDATE liteq_schedules SET last_id = ? WHERE name = ?"
MOST_RUNS = 64
RUNS = f"""
SELECT id, state, created_ms, started_ms, finished_ms FROM liteq_messages WHERE id IN ({", ".join("?" * MOST_RUNS)})
"""
RAN_NOW = """
UPDATE liteq_schedules SET last_run_ms = :now_ms, last_id = :last_id, total_run_count = total_run_count + 1
 WHERE name = :name
"""


class Entry(NamedTuple):
    """An entry as it is to be: `schedule` and `signature` are JSON, `source` a hash over both.

    `enabled`: False pauses it, also where it is there already; True leaves that to the row.
    """

    name: str
    source: str
    schedule: bytes
    signature: bytes
    next_due_ms: int | None
    enabled: bool = True


class ScheduleRecord(NamedTuple):
    """An entry as the file knows it. Times are ms since the epoch; `owner` is "" where no configuration holds it."""

    name: str
    owner: str
    source: str
    schedule: bytes
    signature: bytes
    enabled: bool
    next_due_ms: int | None
    last_run_ms: int | None
    last_id: str | None
    total_run_count: int
    created_ms: int


class RunRecord(NamedTuple):
    """A run of an entry as its message tells; times in ms since the epoch."""

    id: str
    state: str
    created_ms: int
    started_ms: int | None
    finished_ms: int | None


def _record(row: Row) -> ScheduleRecord:
    record = ScheduleRecord._make(row)
    return record._replace(enabled=bool(record.enabled))


def schedules(tx: Transaction, name: str | None = None) -> list[ScheduleRecord]:
    """Every entry, or the one called `name`."""
    return [_record(row) for row in (tx.execute(ALL) if name is None else tx.execute(ONE, (name,)))]


def runs(tx: Transaction, ids: Sequence[str]) -> dict[str, RunRecord]:
    """Those of these runs whose messages are still there, by id; at most 64 are asked for."""
    asked = (*ids[:MOST_RUNS], *[""] * (MOST_RUNS - len(ids)))
    return {row[0]: RunRecord._make(row) for row in tx.execute(RUNS, asked)}


def due(tx: Transaction, *, now_ms: int, limit: int, skip: int) -> list[ScheduleRecord]:
    """Up to `limit` entries that are due, the oldest first, behind the first `skip` of them."""
    return [_record(row) for row in tx.execute(DUE, (now_ms, limit, skip))]


def next_wake_ms(tx: Transaction, *, after_ms: int = -1) -> int | None:
    """When the next entry comes due that does so after `after_ms`, in ms since the epoch; None when none will."""
    found: int | None = tx.execute(NEXT, (after_ms,))[0][0]
    return found


def put(tx: Transaction, owner: str, entries: Iterable[Entry], *, now_ms: int) -> int:
    """Write entries; one that is there and has not changed is left alone. How many rows were written."""
    rows = []
    for entry in entries:
        same = tx.execute(SCHEDULE, (entry.name,)) == [(entry.schedule,)]
        given = {**entry._asdict(), "enabled": int(entry.enabled)}
        rows.append({**given, "owner": owner, "same": int(same), "now_ms": now_ms})
    return tx.executemany(PUT, rows)


def synchronise(tx: Transaction, owner: str, entries: Sequence[Entry], *, now_ms: int) -> list[str]:
    """Make the entries of `owner` those of its configuration; the names of those that are gone."""
    put(tx, owner, entries, now_ms=now_ms)
    names = {entry.name for entry in entries}
    gone = [name for (name,) in tx.execute(OWNED, (owner,)) if name not in names]
    tx.executemany(DELETE, [(name,) for name in gone])
    return gone


def delete(tx: Transaction, name: str) -> bool:
    """Delete an entry; whether there was one."""
    return tx.executemany(DELETE, [(name,)]) == 1


def enable(tx: Transaction, name: str, *, enabled: bool, next_due_ms: int | None) -> bool:
    """Pause an entry, or let it go on at `next_due_ms`; whether there is one."""
    return tx.executemany(ENABLE, [{"name": name, "enabled": int(enabled), "next_due_ms": next_due_ms}]) == 1


def take(
    tx: Transaction, record: ScheduleRecord, *, n: int, last_id: str, next_due_ms: int | None, now_ms: int
) -> bool:
    """Move an entry that is due on, for `n` runs that are sent next; False when another beat was first."""
    params = {
        "name": record.name,
        "source": record.source,
        "due_ms": record.next_due_ms,
        "next_due_ms": next_due_ms,
        "last_id": last_id,
        "n": n,
        "now_ms": now_ms,
    }
    return tx.executemany(FIRE, [params]) == 1


def send(tx: Transaction, name: str, batch: Batch, *, last_id: str, now_ms: int) -> None:
    """Send `batch`, runs of an entry; where another message stands for its last one, that is the entry's last run."""
    stands = batch.stands(enqueue(tx, batch, now_ms=now_ms))
    if last_id in stands:
        tx.executemany(LAST, [(stands[last_id], name)])


def put_off(tx: Transaction, record: ScheduleRecord, *, next_due_ms: int | None) -> bool:
    """Move an entry on without a run: missed runs are not made up."""
    params = {
        "name": record.name,
        "source": record.source,
        "due_ms": record.next_due_ms,
        "next_due_ms": next_due_ms,
    }
    return tx.executemany(PUT_OFF, [params]) == 1


def ran_now(tx: Transaction, name: str, batch: Batch, *, last_id: str, now_ms: int) -> bool:
    """Send a run of an entry out of turn; False when there is no such entry."""
    if tx.executemany(RAN_NOW, [{"name": name, "last_id": last_id, "now_ms": now_ms}]) == 0:
        return False
    send(tx, name, batch, last_id=last_id, now_ms=now_ms)
    return True
