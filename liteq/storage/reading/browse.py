"""Reading: lists of messages, also where there are ten million of them.

A list goes along one index, from a mark: the last page costs as much as the first. The first page and those behind a
mark are statements of their own, as an OR between them keeps SQLite from seeking. Where the columns of an index go in
different directions, what lies behind a mark is several ranges, one statement each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from liteq.states import State
from liteq.storage.driver import Row, Transaction
from liteq.storage.rows.payloads import PAYLOAD_COLUMN
from liteq.storage.rows.results import whole
from liteq.utils.records import NamedTuple

__all__ = [
    "LAST", "SEEN", "WALKS", "WALK_OF", "Line", "Mark", "Walk", "Whole", "begins_with", "line", "page", "seen",
    "seq_before", "tags", "wholes",
]  # fmt: skip

SEEN: Final = 4  # columns of a row of `seen` before its mark
Mark = tuple[Any, ...]  # the sort key of a row, its number last
LAST: Final = (1 << 63) - 1  # no row's number is above it


class Walk(NamedTuple):
    """One way through the messages: the rows of `where` in the order of `keys`, which is that of an index.

    A key with a minus goes down. The row's number breaks ties, and goes down where the last key does. `given` are the
    values that the caller names; `when` is the column of the time that the walk goes by, the newest first.
    """

    where: str
    keys: tuple[str, ...]
    given: tuple[str, ...] = ()
    when: str | None = None
    source: str = "liteq_messages AS m"
    seq: str = "m.seq"

    @property
    def time(self) -> str:
        """The column of the time that a message has in it: when it ended, or when it was sent."""
        return "finished_ms" if any(key.endswith("finished_ms") for key in self.keys) else "created_ms"

    @property
    def order(self) -> list[tuple[str, bool]]:
        """The columns in their order, each with whether it goes down."""
        keys = [(f"m.{key.removeprefix('-')}", key.startswith("-")) for key in self.keys if key.strip("-")]
        return [*keys, (self.seq, self.keys[-1].startswith("-"))]


_READY = ("-priority", "due_ms")
_ENDED = ("-finished_ms",)
# A state's partial index is used where the query has its condition word for word.
WALKS: Final[Mapping[str, Walk]] = {
    "all": Walk("TRUE", ("-",), when="created_ms"),
    "pending": Walk("m.state = 'pending'", ("queue", *_READY)),
    "pending of": Walk("m.state = 'pending' AND m.queue = :queue", _READY, ("queue",)),
    "held": Walk("m.state = 'held'", ("queue", "task", *_READY)),
    "held of": Walk("m.state = 'held' AND m.queue = :queue", ("task", *_READY), ("queue",)),
    "line": Walk("m.state = 'held' AND m.held_by = :line", ("queue", *_READY), ("line",)),
    "leased": Walk("m.state = 'leased'", ("worker", "deadline_ms")),
    "scheduled": Walk("m.state = 'scheduled'", ("due_ms",)),
    "blocked": Walk("m.state = 'blocked'", ("",)),
    "dead": Walk("m.state = 'dead'", _ENDED, when="finished_ms"),
    "dead, oldest first": Walk("m.state = 'dead'", ("finished_ms",)),
    "cause": Walk(
        "m.cause IS NOT NULL AND m.state = 'dead' AND m.cause = :cause", _ENDED, ("cause",), when="finished_ms"
    ),
    "finished": Walk("m.finished_ms IS NOT NULL AND m.state <> 'dead'", _ENDED, when="finished_ms"),
    "stopped": Walk(
        "m.finished_ms IS NOT NULL AND m.state <> 'dead' AND m.state <> 'succeeded'", ("-finished_ms", "-state"),
        when="finished_ms",
    ),
    "root": Walk("m.root_id IS NOT NULL AND m.root_id = :root", ("",), ("root",)),
    "id": Walk("m.id = :id", ("",), ("id",)),
    "tag": Walk(
        "t.tag = :tag", ("-",), ("tag",), source="liteq_run_tags AS t JOIN liteq_messages AS m ON m.seq = t.run",
        seq="t.run",
    ),
}  # fmt: skip
# Cancelled messages and those behind a failure share an index, as the succeeded do with both: look at `state`.
WALK_OF: Final[Mapping[State | None, str]] = {
    None: "all",
    State.SUCCEEDED: "finished",
    State.CANCELLED: "stopped",
    State.UPSTREAM_FAILED: "stopped",
    **{state: state.value for state in State if state.value in WALKS},
}


class Line(NamedTuple):
    """A message in a list. Times are ms since the epoch; `worker` is the name of the one that holds or held it."""

    seq: int
    id: str
    task: str
    queue: str
    priority: int
    state: str
    created_ms: int
    due_ms: int
    started_ms: int | None
    finished_ms: int | None
    retries: int
    crashes: int
    root_id: str | None
    parent_id: str | None
    cause: str | None
    error: bytes | None
    worker: str | None
    waits: str | None = None  # of one that is held: the key that it waits for
    key: Mark = ()


class Whole(NamedTuple):
    """A line with what its arguments are read from."""

    line: Line
    task: str
    payload: bytes
    options: bytes | None
    flags: int


_SEEN: Final = "m.state, m.task, m.queue"
_LINE: Final = """m.id, m.task, m.queue, m.priority, m.state, m.created_ms, m.due_ms, m.started_ms, m.finished_ms,
       m.retries, m.crashes, m.root_id, m.parent_id, m.cause, m.error, w.name, coalesce(l.waits, m.held_by)"""
_OF_LINE: Final = len(Line._fields) - 1  # columns before its mark
_COLUMNS: Final = {"seen": _SEEN, "line": _LINE, "whole": f"{_LINE}, {PAYLOAD_COLUMN}, m.options, m.flags"}
_WORKER: Final = """LEFT JOIN liteq_workers AS w ON w.id = m.worker
       LEFT JOIN liteq_lines AS l ON l.key = m.held_by AND l.queue = m.queue AND l.priority = m.priority"""


def _groups(order: Sequence[tuple[str, bool]]) -> list[tuple[list[int], bool]]:
    """The places of the order's columns, neighbours of one direction together.

    The row's number by itself: SQLite does not seek by it as a part of a row value, and a million rows may be due in
    one millisecond.
    """
    groups: list[tuple[list[int], bool]] = []
    for n, (_, down) in enumerate(order):
        if groups and groups[-1][1] is down and n < len(order) - 1:
            groups[-1][0].append(n)
        else:
            groups.append(([n], down))
    return groups


def _statements(walk: Walk, columns: str) -> list[str]:
    """The first page's statement, then those of the ranges behind a mark, the nearest first."""
    order = walk.order
    keys = ", ".join(column for column, _ in order)
    source = walk.source if columns == "seen" else f"{walk.source} {_WORKER}"
    head = f"SELECT {walk.seq}, {_COLUMNS[columns]}, {keys}\n  FROM {source}"
    ranges = [walk.where]
    for places, down in reversed(_groups(order)):
        same = [f"{order[n][0]} = :k{n}" for n in range(places[0])]
        beyond = "<" if down else ">"
        left = ", ".join(order[n][0] for n in places)
        right = ", ".join(f":k{n}" for n in places)
        ranges.append(" AND ".join([walk.where, *same, f"({left}) {beyond} ({right})"]))
    tail = ", ".join(f"{column} {'DESC' if down else 'ASC'}" for column, down in order)
    return [f"{head}\n WHERE {where}\n ORDER BY {tail} LIMIT :limit" for where in ranges]


PAGES: Final[Mapping[tuple[str, str, int], str]] = {
    (columns, name, n): sql
    for columns in _COLUMNS
    for name, walk in WALKS.items()
    for n, sql in enumerate(_statements(walk, columns))
}
_NAMES: Final = {key: frozenset(re.findall(r":(\w+)", sql)) for key, sql in PAGES.items()}
ONE = f"SELECT m.seq, {_LINE} FROM liteq_messages AS m {_WORKER} WHERE m.seq = ?"
BEGINS = f"SELECT m.seq, {_LINE} FROM liteq_messages AS m {_WORKER} WHERE m.id >= ? AND m.id < ? ORDER BY m.id LIMIT ?"
TAGS = """
SELECT t.tag FROM liteq_messages AS m JOIN liteq_run_tags AS t ON t.run = m.seq WHERE m.id = ? ORDER BY t.tag
"""
NEWEST = "SELECT max(seq) FROM liteq_messages"
AT = "SELECT seq, created_ms FROM liteq_messages WHERE seq >= ? ORDER BY seq LIMIT 1"


def _rows(
    tx: Transaction, columns: str, walk: str, after: Mark | None, limit: int, given: Mapping[str, object]
) -> list[Row]:
    found: list[Row] = []
    marks = {} if after is None else {f"k{n}": value for n, value in enumerate(after)}
    n = 0 if after is None else 1
    while len(found) < limit and (columns, walk, n) in PAGES:
        values = {**given, **marks, "limit": limit - len(found)}
        names = _NAMES[columns, walk, n]  # a driver refuses others
        found += tx.execute(PAGES[columns, walk, n], {name: values[name] for name in names})
        if after is None:
            break
        n += 1
    return found


def page(
    tx: Transaction, walk: str, *, after: Mark | None = None, limit: int, given: Mapping[str, object] | None = None
) -> list[Line]:
    """Up to `limit` messages of a walk behind the mark `after`; costs as many rows as it returns."""
    return _lines(tx, _rows(tx, "line", walk, after, limit, given or {}))


def seen(
    tx: Transaction, walk: str, *, after: Mark | None = None, limit: int, given: Mapping[str, object] | None = None
) -> list[Row]:
    """As `page`, for a look at many: (number, state, task, queue, *mark) of each, as rows."""
    return _rows(tx, "seen", walk, after, limit, given or {})


def wholes(
    tx: Transaction, walk: str, *, after: Mark | None = None, limit: int, given: Mapping[str, object] | None = None
) -> list[Whole]:
    """As `page`, with the arguments, as they stand in the file."""
    rows = _rows(tx, "whole", walk, after, limit, given or {})
    lines = _lines(tx, [row[:_OF_LINE] + row[_OF_LINE + 3 :] for row in rows])
    return [Whole(one, one.task, *row[_OF_LINE : _OF_LINE + 3]) for one, row in zip(lines, rows, strict=True)]


def line(tx: Transaction, seqs: Iterable[int]) -> list[Line]:
    """The messages of these row numbers that are there still, in this order."""
    return _lines(tx, [row for seq in seqs for row in tx.execute(ONE, (seq,))])


def begins_with(tx: Transaction, start: str, *, limit: int = 20) -> list[Line]:
    """The messages whose ids begin with `start`, in the order of their ids."""
    return _lines(tx, tx.execute(BEGINS, (start, start + "\U0010ffff", limit)))


def tags(tx: Transaction, id_: str) -> list[str]:
    """The tags of a message, in their order."""
    return [tag for (tag,) in tx.execute(TAGS, (id_,))]


def seq_before(tx: Transaction, until_ms: int) -> int:
    """The number of the first row that was sent after `until_ms`, or of none: by halving, some twenty rows.

    Rows are numbered in the order of their commits, so their times go up, but for some milliseconds.
    """
    newest = tx.execute(NEWEST)[0][0] or 0
    low, high = 0, newest + 1
    while low < high:
        middle = (low + high) // 2
        found = tx.execute(AT, (middle,))
        if not found or found[0][1] > until_ms:
            high = middle
        else:
            low = found[0][0] + 1
    return low


def _lines(tx: Transaction, rows: Iterable[Row]) -> list[Line]:
    """Lines with the errors that they only refer to, each read once."""
    known: dict[str, bytes] = {}
    found = []
    for row in rows:
        one = Line._make((*row[:_OF_LINE], row[_OF_LINE:]))
        if one.state == State.UPSTREAM_FAILED and one.error is not None:
            one = one._replace(error=whole(tx, one.error, known))
        found.append(one)
    return found
