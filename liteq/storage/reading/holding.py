"""Reading: what limits and turns hold back, which messages have the places, where a held one stands.

A held message stands in a line, by its key, its queue and its priority; `waits` is the key that the first of the line
lacks. Bounded as `overview`: from key to key by steps in an index, and counted up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from liteq.storage.driver import Transaction
from liteq.storage.limits.rules import BEGUN, FAIR, OWN, Rules, read
from liteq.storage.reading.overview import Bounded
from liteq.utils.records import NamedTuple

__all__ = [
    "FAIR", "OF_NO_LIMIT", "OWN", "Holding", "KeyRow", "PlaceTaken", "Waits", "fair_keys", "held_in",
    "held_of", "key_row", "limits", "lines", "paused_keys", "places", "running", "taken", "waited_for", "waits",
]  # fmt: skip

OF_NO_LIMIT: Final = (FAIR, OWN, BEGUN)  # how the names of lines begin that are no keys
LINES: Final = 200  # of one key, that are looked at
PAUSED_AMONG: Final = 10_000  # keys that are used or paused now, among which paused ones are looked for
COUNTED: Final = 10_000
KEY: Final = "SELECT full_us, paused_ms, since_ms, reason FROM liteq_keys WHERE key = ?"
PAUSED: Final = """
SELECT key FROM (SELECT key, paused_ms FROM liteq_keys ORDER BY key LIMIT ?) AS found WHERE paused_ms > ?
"""
NEXT_WAITED: Final = "SELECT min(waits) FROM liteq_lines WHERE waits > ?"
NEXT_LINE: Final = "SELECT min(key) FROM liteq_lines WHERE key > ? AND key < ?"
LINES_OF: Final = """
SELECT key, queue, priority FROM liteq_lines WHERE waits = ? ORDER BY queue, priority DESC, turn LIMIT ?
"""
LINES_AMONG: Final = "SELECT key, queue, priority FROM liteq_lines WHERE waits >= ? AND waits < ? LIMIT ?"
TAKEN_AMONG: Final = "SELECT count(*) FROM (SELECT 1 FROM liteq_slots WHERE key >= ? AND key < ? LIMIT ?) AS found"
LINE_IN: Final = "SELECT key, queue, priority FROM liteq_lines WHERE key = ? AND queue = ?"
LINE: Final = "SELECT waits FROM liteq_lines WHERE key = ? AND queue = ? AND priority = ?"
IN_LINE: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages
 WHERE state = 'held' AND held_by = :key AND queue = :queue AND priority = :priority LIMIT :limit) AS found
"""
HEAD: Final = """
SELECT id, task, due_ms FROM liteq_messages WHERE state = 'held' AND held_by = ? AND queue = ? AND priority = ?
 ORDER BY due_ms LIMIT 1
"""
PLACE: Final = "SELECT seq, held_by, queue, priority, due_ms FROM liteq_messages WHERE id = ? AND state = 'held'"
_BEFORE: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages
 WHERE state = 'held' AND held_by = :key AND queue = :queue AND {more} LIMIT :limit) AS found
"""
HIGHER: Final = _BEFORE.format(more="priority > :priority")
EARLIER: Final = _BEFORE.format(more="priority = :priority AND due_ms < :due_ms")
SAME: Final = _BEFORE.format(more="priority = :priority AND due_ms = :due_ms AND seq < :seq")
TAKEN: Final = "SELECT count(*) FROM (SELECT 1 FROM liteq_slots WHERE key = ? LIMIT ?) AS found"
PLACES: Final = """
SELECT m.id, m.task, m.queue, s.since_ms, w.name
  FROM (SELECT seq, since_ms FROM liteq_slots WHERE key = ? ORDER BY seq LIMIT ?) AS s
  JOIN liteq_messages AS m ON m.seq = s.seq LEFT JOIN liteq_workers AS w ON w.id = m.worker ORDER BY s.seq
"""
PLACES_OF: Final = """
SELECT s.key, s.since_ms FROM liteq_messages AS m JOIN liteq_slots AS s ON s.seq = m.seq
 WHERE m.id = ? ORDER BY s.key LIMIT 100
"""


class KeyRow(NamedTuple):
    """A key that is in use or paused: when its bucket is full again (us since the epoch), its pause (ms) and why."""

    full_us: int
    paused_ms: int | None
    since_ms: int | None
    reason: str


class Holding(NamedTuple):
    """The messages of one key and queue that are held: how many; of the first that is due id, task, when (ms)."""

    queue: str
    n: Bounded
    head: str
    head_task: str
    head_ms: int


class PlaceTaken(NamedTuple):
    """A message that has a place under a limit, and since when (ms)."""

    id: str
    task: str
    queue: str
    since_ms: int
    worker: str | None


class Waits(NamedTuple):
    """Where a held message stands: its line, the key that the line waits for, since when (ms), how many go before."""

    line: str
    key: str | None
    queue: str
    since_ms: int
    ahead: Bounded


def limits(tx: Transaction) -> Rules:
    """The limits that are set, to find the one that a key goes by."""
    return read(tx)


def key_row(tx: Transaction, key: str) -> KeyRow | None:
    """The state of a key; None for one that is neither in use nor paused."""
    return next((KeyRow._make(row) for row in tx.execute(KEY, (key,))), None)


def paused_keys(tx: Transaction, *, now_ms: int) -> list[str]:
    """The keys that are paused, by key, among the first 10,000 that are in use or paused."""
    return [key for (key,) in tx.execute(PAUSED, (PAUSED_AMONG, now_ms))]


def waited_for(tx: Transaction, *, limit: int) -> list[str]:
    """Up to `limit` keys that something waits for, by key."""
    return _hopped(tx, NEXT_WAITED, "", (), limit)


def fair_keys(tx: Transaction, queue: str, *, limit: int) -> list[str]:
    """Up to `limit` fair keys with messages that wait for their turn in `queue`, as the lines are called, by key."""
    begins = f"{FAIR}{queue}:"
    return _hopped(tx, NEXT_LINE, begins, (f"{begins[:-1]};",), limit)  # ";" comes behind ":"


def _hopped(tx: Transaction, sql: str, after: str, more: tuple[str, ...], limit: int) -> list[str]:
    found: list[str] = []
    while len(found) < limit:
        key = tx.execute(sql, (after, *more))[0][0]
        if not isinstance(key, str):
            break
        found.append(key)
        after = key
    return found


def lines(tx: Transaction, key: str, *, limit: int = LINES) -> list[str]:
    """The lines that wait for `key`, by name; its own stands among them."""
    return sorted({line for line, _, _ in tx.execute(LINES_OF, (key, limit))})


def held_of(tx: Transaction, key: str, *, limit: int = COUNTED) -> list[Holding]:
    """The messages that wait for `key`, by queue; of each queue `limit` are counted at most.

    For a pattern such as "user:*": what waits for all keys that begin so.
    """
    span = _span(key)
    places = tx.execute(LINES_AMONG, (*span, LINES + 1)) if span else tx.execute(LINES_OF, (key, LINES + 1))
    return _counted(tx, places[:LINES], limit, whole=len(places) <= LINES)


def held_in(tx: Transaction, line: str, queue: str, *, limit: int = COUNTED) -> list[Holding]:
    """The messages in one line of one queue, over all priorities; [] or one."""
    return _counted(tx, tx.execute(LINE_IN, (line, queue)), limit, whole=True)


def _counted(tx: Transaction, places: Iterable[tuple[str, str, int]], limit: int, *, whole: bool) -> list[Holding]:
    found: dict[str, Holding] = {}
    for line, queue, priority in places:
        head = next(iter(tx.execute(HEAD, (line, queue, priority))), None)
        if head is None:
            continue
        before = found.get(queue) or Holding(queue, Bounded(0, whole), *head)
        left = limit - before.n.n
        more = {"key": line, "queue": queue, "priority": priority, "limit": left + 1}
        n = int(tx.execute(IN_LINE, more)[0][0]) if before.n.n < limit else 1
        total = before.n.plus(Bounded(min(n, left), n <= left))
        first = before if before.head_ms <= head[2] else Holding(queue, before.n, *head)
        found[queue] = first._replace(n=total)
    return [found[queue] for queue in sorted(found)]


def _span(key: str) -> tuple[str, str] | None:
    """The first key of a pattern with its one `*` at the end, and what is behind the last; None for another key."""
    begins, star, rest = key.partition("*")
    return (begins, f"{begins}\U0010ffff") if star and begins and not rest else None


def running(tx: Transaction, key: str, *, limit: int = COUNTED) -> Bounded:
    """How many places under `key` are taken; for a pattern under all keys that begin so."""
    span = _span(key)
    rows = tx.execute(TAKEN_AMONG, (*span, limit + 1)) if span else tx.execute(TAKEN, (key, limit + 1))
    n = int(rows[0][0])
    return Bounded(min(n, limit), n <= limit)


def places(tx: Transaction, key: str, *, limit: int) -> list[PlaceTaken]:
    """Up to `limit` of the messages that have the places under `key`, the oldest first."""
    return [PlaceTaken._make(row) for row in tx.execute(PLACES, (key, limit))]


def taken(tx: Transaction, id_: str) -> dict[str, int]:
    """The keys under which the message of this id has a place, with since when (ms)."""
    return dict(tx.execute(PLACES_OF, (id_,)))


def waits(tx: Transaction, id_: str, *, limit: int = COUNTED) -> Waits | None:
    """Where the held message of this id stands; None for one that is not held."""
    for seq, line, queue, priority, due_ms in tx.execute(PLACE, (id_,)):
        if line is None:
            return None
        n = 0
        place = {"key": line, "queue": queue, "priority": priority}
        for sql, more in ((HIGHER, {}), (EARLIER, {"due_ms": due_ms}), (SAME, {"due_ms": due_ms, "seq": seq})):
            n += int(tx.execute(sql, {**place, **more, "limit": limit + 1 - n})[0][0])
        key = next((key for (key,) in tx.execute(LINE, (line, queue, priority))), None)
        return Waits(line, key, queue, due_ms, Bounded(min(n, limit), n <= limit))
    return None
