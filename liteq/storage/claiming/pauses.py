"""Queues that are paused: what waits in one stays there, until it is resumed or its time comes.

Each claim looks here itself, so a pause holds from its commit on in every worker; what a worker has already is
executed. A row may bear a glob for its queue, `mail.*`: it holds for each queue that fits, also for one that appears
later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from liteq.storage.driver import GLOB, Transaction
from liteq.utils.globs import fits, is_glob
from liteq.utils.records import NamedTuple

__all__ = ["OPEN", "PAUSED_QUEUE", "Pause", "Pauses", "expire", "open_queues", "pause", "paused", "resume"]

# A part of the claims' statements: one look into a table that is nearly always empty. A name is a glob that it alone
# fits; each comparison more, of strings at that, would cost a claim several microseconds.
PAUSED_QUEUE: Final = f"""
EXISTS (SELECT 1 FROM liteq_queues AS p
         WHERE :queue {GLOB} p.queue AND (p.until_ms IS NULL OR p.until_ms > :now_ms))
"""
OPEN: Final = f"NOT {PAUSED_QUEUE}"
PAUSE = """
INSERT INTO liteq_queues (queue, paused_ms, until_ms, actor, reason)
VALUES (:queue, :now_ms, :until_ms, :actor, :reason)
ON CONFLICT (queue) DO UPDATE
   SET paused_ms = excluded.paused_ms, until_ms = excluded.until_ms, actor = excluded.actor, reason = excluded.reason
"""
RESUME = f"""
DELETE FROM liteq_queues
 WHERE (queue IN (:queue, :glob) OR queue {GLOB} :glob) AND (until_ms IS NULL OR until_ms > :now_ms)
"""
PAUSED = """
SELECT queue, paused_ms, until_ms, actor, reason FROM liteq_queues
 WHERE until_ms IS NULL OR until_ms > ? ORDER BY queue LIMIT 1000
"""
IS_OPEN = f"SELECT 1 WHERE {OPEN}"
KEPT_MS: Final = 60_000  # after its end, for workers that have to find out that it is over
EXPIRED = "DELETE FROM liteq_queues WHERE until_ms <= ?"


class Pause(NamedTuple):
    """A queue, or all that fit a glob, from which nothing is claimed: since when, until when, by whom and why.

    Times in ms since the epoch; `until_ms` None: until it is resumed.
    """

    queue: str  # a name, or a glob
    since_ms: int
    until_ms: int | None
    actor: str
    reason: str


def _stored(queue: str) -> str:
    """A name or glob as the engine compares it: a bracket is one, and begins no set of characters."""
    return queue.replace("[", "[[]")


def _shown(stored: str) -> str:
    return stored.replace("[[]", "[")


class Pauses(dict[str, Pause]):
    """Pauses by the name or the glob that they were given for."""

    def of(self, queue: str) -> Pause | None:
        """The pause of `queue`: its own, else that of the first glob that it fits; None: it is open."""
        if not self:
            return None
        return self.get(queue) or next((one for name, one in self.items() if fits(queue, name)), None)

    def names(self) -> list[str]:
        """The queues that were paused by their name."""
        return [name for name in self if not is_glob(name)]


def pause(
    tx: Transaction, queue: str, *, now_ms: int, until_ms: int | None = None, actor: str = "", reason: str = ""
) -> None:
    """Pause a queue, or all that fit a glob, whether there is such a one yet or not.

    Of what is paused already, the rest of these is changed.
    """
    params = {"queue": _stored(queue), "now_ms": now_ms, "until_ms": until_ms, "actor": actor, "reason": reason}
    tx.executemany(PAUSE, [params])


def resume(tx: Transaction, queue: str, *, now_ms: int) -> bool:
    """Let the messages of a queue be claimed again, by a glob those of all that fit; False where none was paused.

    A pause by a glob is ended by that glob, or a wider one, and not by the name of one queue.
    """
    params = {"queue": queue, "glob": _stored(queue), "now_ms": now_ms}
    return tx.executemany(RESUME, [params]) > 0


def paused(tx: Transaction, *, now_ms: int) -> list[Pause]:
    """The queues and globs that are paused now, by name."""
    return [Pause(_shown(queue), *rest) for queue, *rest in tx.execute(PAUSED, (now_ms,))]


def open_queues(tx: Transaction, queues: Sequence[str], *, now_ms: int) -> list[str]:
    """Those of `queues` that are not paused, in their order."""
    return [queue for queue in queues if tx.execute(IS_OPEN, {"queue": queue, "now_ms": now_ms})]


def expire(tx: Transaction, *, now_ms: int) -> int:
    """Forget pauses that are over since `KEPT_MS`; how many."""
    return tx.executemany(EXPIRED, [(now_ms - KEPT_MS,)])
