"""Reading: the work that waits, by queue. By indexes alone: it costs the same beside ten rows and ten million."""

from __future__ import annotations

from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["COUNTED", "Backlog", "DeadLetters", "backlog", "dead_letters", "waiting_queues"]

QUEUES = 200  # looked at; a file with more has its first ones told of
COUNTED = 1_000  # messages of a queue that are counted at most
SAMPLE = 500  # messages at the head of a queue whose tasks are looked at
# From one queue to the next, and from one priority to the next: each a step in the index of pending messages.
NEXT_QUEUE = "SELECT min(queue) FROM liteq_messages WHERE state = 'pending' AND queue > ?"
NEXT_PRIORITY = """
SELECT max(priority) FROM liteq_messages WHERE state = 'pending' AND queue = :queue AND priority < :priority
"""
OLDEST = "SELECT min(due_ms) FROM liteq_messages WHERE state = 'pending' AND queue = :queue AND priority = :priority"
WAITING = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = :queue LIMIT :limit) AS found
"""
TASKS = """
SELECT DISTINCT task FROM (
    SELECT task FROM liteq_messages WHERE state = 'pending' AND queue = :queue
     ORDER BY priority DESC, due_ms LIMIT :limit) AS head
"""
# A scheduled message becomes pending when a worker of its queue looks: without one it stays, long after its time.
LATE = """
SELECT queue, task, due_ms FROM liteq_messages WHERE state = 'scheduled' AND due_ms <= :now_ms
 ORDER BY due_ms LIMIT :limit
"""
DEAD = "SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'dead' LIMIT :limit) AS found"
NEWEST_DEAD = "SELECT max(finished_ms) FROM liteq_messages WHERE state = 'dead'"
# From one queue to the next likewise, in one statement: of what is pending, of lines that may start, of keys for which
# it is time. Lines that wait for a place are met when that is free.
NAMES = """
WITH RECURSIVE
pending(queue) AS (
    SELECT min(queue) FROM liteq_messages WHERE state = 'pending'
    UNION ALL
    SELECT (SELECT min(m.queue) FROM liteq_messages AS m WHERE m.state = 'pending' AND m.queue > pending.queue)
      FROM pending WHERE pending.queue IS NOT NULL),
lines(queue) AS (
    SELECT min(queue) FROM liteq_lines WHERE waits IS NULL
    UNION ALL
    SELECT (SELECT min(l.queue) FROM liteq_lines AS l WHERE l.waits IS NULL AND l.queue > lines.queue)
      FROM lines WHERE lines.queue IS NOT NULL),
wakes(queue) AS (
    SELECT min(queue) FROM liteq_wakes WHERE at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(w.queue) FROM liteq_wakes AS w WHERE w.at IS NOT NULL AND w.queue > wakes.queue)
      FROM wakes WHERE wakes.queue IS NOT NULL)
SELECT queue FROM pending WHERE queue IS NOT NULL
UNION SELECT queue FROM lines WHERE queue IS NOT NULL
UNION SELECT queue FROM wakes WHERE queue IS NOT NULL
"""
ABOVE_ALL = 1 << 31  # no priority is so high


class Backlog(NamedTuple):
    """The messages of a queue that are due: how many (no more than `COUNTED` are counted), and since when in ms.

    `tasks`: the tasks of those at its head.
    """

    queue: str
    n: int
    oldest_ms: int
    tasks: frozenset[str]


class DeadLetters(NamedTuple):
    """How many there are (no more than `COUNTED` are counted), and when the newest of them died, in ms."""

    n: int
    newest_ms: int | None


def waiting_queues(tx: Transaction) -> list[str]:
    """The names of the queues in which something waits that is due."""
    return [queue for (queue,) in tx.execute(NAMES)]


def backlog(tx: Transaction, *, now_ms: int) -> list[Backlog]:
    """The queues in which messages wait that are due, by name; those that came due unnoticed among them."""
    found = {one.queue: one for one in _pending(tx)}
    for queue, task, due_ms in tx.execute(LATE, {"now_ms": now_ms, "limit": COUNTED}):
        before = found.get(queue)
        if before is None:
            found[queue] = Backlog(queue, 1, due_ms, frozenset({task}))
        else:
            n = min(before.n + 1, COUNTED)
            found[queue] = Backlog(queue, n, min(before.oldest_ms, due_ms), before.tasks | {task})
    return sorted(found.values())


def _pending(tx: Transaction) -> list[Backlog]:
    found: list[Backlog] = []
    queue = tx.execute(NEXT_QUEUE, ("",))[0][0]
    while isinstance(queue, str) and len(found) < QUEUES:
        n = int(tx.execute(WAITING, {"queue": queue, "limit": COUNTED})[0][0])
        tasks = frozenset(task for (task,) in tx.execute(TASKS, {"queue": queue, "limit": SAMPLE}))
        oldest_ms = _oldest_ms(tx, queue)
        if oldest_ms is not None:
            found.append(Backlog(queue, n, oldest_ms, tasks))
        queue = tx.execute(NEXT_QUEUE, (queue,))[0][0]
    return found


def _oldest_ms(tx: Transaction, queue: str) -> int | None:
    """None where every row has a priority or a time that liteq does not write: a worker buries them."""
    oldest: int | None = None
    priority = tx.execute(NEXT_PRIORITY, {"queue": queue, "priority": ABOVE_ALL})[0][0]
    while priority is not None:
        due_ms = tx.execute(OLDEST, {"queue": queue, "priority": priority})[0][0]
        if isinstance(due_ms, int):
            oldest = due_ms if oldest is None else min(oldest, due_ms)
        priority = tx.execute(NEXT_PRIORITY, {"queue": queue, "priority": priority})[0][0]
    return oldest


def dead_letters(tx: Transaction) -> DeadLetters:
    """How many dead letters there are, and the age of the newest."""
    n = int(tx.execute(DEAD, {"limit": COUNTED})[0][0])
    return DeadLetters(n, tx.execute(NEWEST_DEAD, {})[0][0] if n else None)
