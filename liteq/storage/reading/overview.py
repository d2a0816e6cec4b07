"""Reading: how many messages there are, and how late the queues are. Bounded: nothing is counted beyond a limit.

A file of ten million rows is counted in the time that one of fifty thousand takes. What was not counted to its end
says so: "10,000 or more".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from liteq.states import State
from liteq.storage.driver import Transaction
from liteq.utils.records import NamedTuple

__all__ = ["COUNTED", "QUEUES", "Bounded", "Count", "Overview", "QueueLook", "by_queue", "look", "names", "states"]

COUNTED: Final = 10_000  # rows of one kind that are counted
QUEUES: Final = 200  # that are looked at; a file with more has its first ones told of
# From one queue to the next, a step each in an index that begins with the queue.
_HOP: Final = "SELECT min(queue) FROM liteq_messages WHERE state = '{state}' AND queue > ?"
_COUNT: Final = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE {where} LIMIT :limit) AS found
"""
_BY_QUEUE: Final = """
SELECT queue, state, count(*) FROM (SELECT queue, state FROM liteq_messages WHERE {where} {order} LIMIT :limit) AS found
 GROUP BY queue, state
"""
_FINISHED: Final = "finished_ms IS NOT NULL AND state <> 'dead'"
_STOPPED: Final = f"{_FINISHED} AND state <> 'succeeded'"
_NEWEST: Final = "ORDER BY finished_ms DESC"
HOPS: Final[Mapping[str, str]] = {state: _HOP.format(state=state) for state in ("pending", "held")}
IN_QUEUE: Final[Mapping[str, str]] = {
    state: _COUNT.format(where=f"state = '{state}' AND queue = :queue") for state in ("pending", "held")
}
IN_STATE: Final[Mapping[str, str]] = {
    **{state: _COUNT.format(where=f"state = '{state}'") for state in ("scheduled", "blocked", "leased", "dead")},
    "finished": _COUNT.format(where=_FINISHED),
}
STOPPED: Final = f"""
SELECT state, count(*) FROM (
    SELECT state FROM liteq_messages WHERE {_STOPPED} {_NEWEST} LIMIT :limit) AS found GROUP BY state
"""
BY_QUEUE: Final[Mapping[str, str]] = {
    **{
        state: _BY_QUEUE.format(where=f"state = '{state}'", order="")
        for state in ("scheduled", "blocked", "leased", "dead")
    },
    "finished": _BY_QUEUE.format(where=_FINISHED, order=_NEWEST),
}
# The message that is claimed next. Scheduled ones are pending once a worker of their queue has looked.
HEAD: Final = """
SELECT due_ms FROM liteq_messages WHERE state = 'pending' AND queue = ? ORDER BY priority DESC, due_ms LIMIT 1
"""


class Bounded(NamedTuple):
    """A number, and whether it is the whole: else there are at least so many."""

    n: int
    exact: bool = True

    def plus(self, other: Bounded) -> Bounded:
        return Bounded(self.n + other.n, self.exact and other.exact)


class Count(NamedTuple):
    """How many messages of a queue are in a state; where it is not `exact` there may be more."""

    queue: str
    state: State
    n: int
    exact: bool = True


class QueueLook(NamedTuple):
    """A queue in numbers; `head_ms`: the due time of the message that is claimed next, None where none waits."""

    name: str
    waiting: Bounded
    held: Bounded
    running: int
    head_ms: int | None


class Overview(NamedTuple):
    """The file in numbers, from one snapshot."""

    states: dict[State, Bounded]
    queues: list[QueueLook]


NONE: Final = Bounded(0)


def look(tx: Transaction, limit: int = COUNTED) -> Overview:
    """How many messages are in each state, and the queues in which some wait, are held back or run, by name."""
    waiting = dict(_hopped(tx, "pending", limit))
    held = dict(_hopped(tx, "held", limit))
    running = Counter({queue: n for queue, _, n in tx.execute(BY_QUEUE["leased"], {"limit": limit + 1})})
    queues = [
        QueueLook(name, waiting.get(name, NONE), held.get(name, NONE), running[name], _head_ms(tx, name))
        for name in sorted({*waiting, *held, *running})
    ]
    return Overview(_states(tx, _sum(waiting), _sum(held), limit), queues)


def states(tx: Transaction, limit: int = COUNTED) -> dict[State, Bounded]:
    """How many messages are in each state."""
    return _states(tx, _sum(dict(_hopped(tx, "pending", limit))), _sum(dict(_hopped(tx, "held", limit))), limit)


def _states(tx: Transaction, waiting: Bounded, held: Bounded, limit: int) -> dict[State, Bounded]:
    found = {State.PENDING: waiting, State.HELD: held}
    for state in (State.SCHEDULED, State.BLOCKED, State.LEASED, State.DEAD):
        found[state] = _bounded(tx.execute(IN_STATE[state], {"limit": limit + 1})[0][0], limit)
    finished = _bounded(tx.execute(IN_STATE["finished"], {"limit": limit + 1})[0][0], limit)
    stopped: Counter[str] = Counter(dict(tx.execute(STOPPED, {"limit": limit + 1})))
    told = _bounded(stopped.total(), limit)
    for state in (State.CANCELLED, State.UPSTREAM_FAILED):
        found[state] = Bounded(stopped[state], told.exact)
    whole = finished.exact and told.exact
    found[State.SUCCEEDED] = (
        Bounded(finished.n - stopped.total(), True)
        if whole
        else Bounded(0 if finished.exact else max(0, limit - stopped.total()), False)
    )
    return {state: found[state] for state in State}


def _hopped(tx: Transaction, state: str, limit: int) -> Iterator[tuple[str, Bounded]]:
    """The queues of an index that begins with the queue, each with its number."""
    queue = tx.execute(HOPS[state], ("",))[0][0]
    for _ in range(QUEUES):
        if not isinstance(queue, str):
            return
        yield queue, _bounded(tx.execute(IN_QUEUE[state], {"queue": queue, "limit": limit + 1})[0][0], limit)
        queue = tx.execute(HOPS[state], (queue,))[0][0]


def _bounded(n: int, limit: int) -> Bounded:
    return Bounded(int(n)) if n <= limit else Bounded(limit, exact=False)


def _sum(parts: Mapping[str, Bounded]) -> Bounded:
    total = NONE
    for one in parts.values():
        total = total.plus(one)
    return total if len(parts) < QUEUES else total._replace(exact=False)


def _head_ms(tx: Transaction, queue: str) -> int | None:
    return next((due_ms for (due_ms,) in tx.execute(HEAD, (queue,)) if isinstance(due_ms, int)), None)


def by_queue(tx: Transaction, limit: int = COUNTED, read: int = COUNTED) -> list[Count]:
    """How many messages there are, by queue and state; of finished ones the newest are counted.

    A number of a kind that has more rows than `limit` is not exact: there may be more, also in queues that are not
    told of. `read`: the same of states whose index does not say the queue, where each row that is counted is read.
    """
    found = [
        Count(queue, state, one.n, one.exact)
        for state in (State.PENDING, State.HELD)
        for queue, one in _hopped(tx, state, limit)
    ]
    for kind in BY_QUEUE:
        rows = tx.execute(BY_QUEUE[kind], {"limit": min(limit, read) + 1})
        exact = sum(n for _, _, n in rows) <= min(limit, read)
        found += [Count(queue, State(state), n, exact) for queue, state, n in rows]
    return sorted(found, key=lambda one: (one.queue, one.state))


def names(tx: Transaction) -> list[str]:
    """The queues in which something is, as far as they are seen among the counted rows."""
    return sorted({one.queue for one in by_queue(tx)})
