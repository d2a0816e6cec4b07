"""The verbs by which worker processes know of each other: register, heartbeat, find the dead, leave."""

from __future__ import annotations

from typing import Any

import orjson

from liteq.message import WorkerIdentity
from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["WorkerRecord", "before", "heartbeat", "register", "unregister", "workers"]

REGISTER = """
INSERT INTO liteq_workers (uuid, name, host, boot, pid, started, started_ms, heartbeat_ms, info)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
RETURNING id
"""
HEARTBEAT = "UPDATE liteq_workers SET heartbeat_ms = ?, info = ? WHERE id = ?"
UNREGISTER = "DELETE FROM liteq_workers WHERE id = ?"
WORKERS = """
SELECT id, uuid, name, host, boot, pid, started, started_ms, heartbeat_ms, info,
       (SELECT count(*) FROM liteq_messages WHERE state = 'leased' AND worker = liteq_workers.id) AS leased
  FROM liteq_workers ORDER BY id
"""
COLUMNS = "id, uuid, name, host, boot, pid, started, started_ms, heartbeat_ms, info, 0"
BEFORE = f"SELECT {COLUMNS} FROM liteq_workers WHERE boot = :boot AND id < :worker ORDER BY id DESC LIMIT 1"
# In the order of their numbers: the first one is nearly always fresh, so this ends with it.
IS_LOOKED_AFTER = """
SELECT 1 FROM liteq_workers
 WHERE boot = :boot AND id < :worker AND heartbeat_ms BETWEEN :since_ms AND :until_ms
 ORDER BY id LIMIT 1
"""


class WorkerRecord(NamedTuple):
    """A worker as the file knows it; `info` is JSON, `leased` how many messages it holds."""

    id: int
    uuid: str
    name: str
    host: str
    boot: str
    pid: int
    started: str
    started_ms: int
    heartbeat_ms: int
    info: bytes | None
    leased: int

    @property
    def identity(self) -> WorkerIdentity:
        return WorkerIdentity(self.uuid, self.name, self.host, self.boot, self.pid, self.started)

    @property
    def facts(self) -> dict[str, Any]:
        """`info` as a dict; an empty one where there is none, and where another program wrote something else."""
        try:
            found = orjson.loads(self.info or b"{}")
        except (ValueError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}


def register(tx: Transaction, me: WorkerIdentity, info: bytes | None, *, now_ms: int) -> int:
    """Enter a worker; the number that its leases carry."""
    row = (me.uuid, me.name, me.host, me.boot, me.pid, me.started, now_ms, now_ms, info)
    return int(tx.execute(REGISTER, row)[0][0])


def heartbeat(tx: Transaction, worker: int, info: bytes | None, *, now_ms: int) -> bool:
    """Say that `worker` lives; False when it has been taken for dead and removed."""
    return tx.executemany(HEARTBEAT, [(now_ms, info, worker)]) == 1


def unregister(tx: Transaction, worker: int) -> None:
    """Remove a worker that has no leases any more."""
    tx.execute(UNREGISTER, (worker,))


def workers(tx: Transaction) -> list[WorkerRecord]:
    """Every worker that the file knows, the dead that nobody has reaped yet among them."""
    return [WorkerRecord._make(row) for row in tx.execute(WORKERS)]


def before(
    tx: Transaction, worker: int, boot: str, *, since_ms: int, until_ms: int
) -> tuple[WorkerRecord | None, bool]:
    """The worker that entered last before `worker` under the same `boot`, and whether one of those before it is fresh.

    Fresh: its heartbeat is of between the two times. Costs the same beside two workers and beside hundreds.
    """
    place = {"boot": boot, "worker": worker}
    rows = tx.execute(BEFORE, place)
    fresh = bool(tx.execute(IS_LOOKED_AFTER, {**place, "since_ms": since_ms, "until_ms": until_ms}))
    return (WorkerRecord._make(rows[0]) if rows else None), fresh
