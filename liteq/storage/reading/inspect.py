"""Reading: the content of the store, for results, the command line and dashboards. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from liteq.exceptions import StorageCorrupt
from liteq.message import Flag
from liteq.states import FINISHED, State, sql_list
from liteq.storage.driver import Row, Transaction
from liteq.storage.rows.payloads import PAYLOAD_COLUMN, RESULT_COLUMN
from liteq.storage.rows.results import whole
from liteq.storage.sending.unique import shown
from liteq.utils.records import NamedTuple, dataclass, fields_of

__all__ = [
    "GroupRecord",
    "Member",
    "Record",
    "find",
    "find_ended",
    "find_finished",
    "find_group",
    "followers",
    "group_members",
    "have_ended",
    "sent_by",
    "waiting",
]

_COLUMNS = f"""
SELECT m.id, m.task, m.queue, m.priority, m.state, {PAYLOAD_COLUMN}, m.options, m.due_ms, m.created_ms, m.expires_ms,
       m.retries, m.crashes, m.reaps, m.started_ms, m.finished_ms, m.progress, {RESULT_COLUMN}, m.error, m.root_id,
       m.parent_id, m.awaits, m.group_id, m.position, m.flags, w.name, m.unique_key, m.token, m.keys,
       m.held_by
  FROM liteq_messages AS m LEFT JOIN liteq_workers AS w ON w.id = m.worker
"""
FIND = _COLUMNS + " WHERE m.id = ?"
# For one that waits for it, who needs no arguments: those beside the row are left there.
FIND_ENDED = f"""{_COLUMNS.replace(PAYLOAD_COLUMN, "m.payload")}
 WHERE m.id = ? AND m.finished_ms IS NOT NULL AND m.flags & {Flag.SHOWN} = 0
"""
HAS_ENDED = f"SELECT finished_ms IS NOT NULL AND flags & {Flag.SHOWN} = 0 FROM liteq_messages WHERE id = ?"
AMONG = 512  # ids of one question
AMONG_SIZES = [1 << n for n in range(AMONG.bit_length())]  # ten statements for the library's cache, not hundreds
FIND_FINISHED = {
    size: f"""{_COLUMNS}
 WHERE m.state IN {sql_list(FINISHED)} AND m.flags & ? = 0 AND m.id IN ({", ".join("?" * size)})
"""
    for size in AMONG_SIZES
}
GROUP = """
SELECT id, size, remaining, failed, group_id, root_id, created_ms, finished_ms, position FROM liteq_groups WHERE id = ?
"""
MEMBERS = """
SELECT position, 'task' AS kind, id FROM liteq_messages WHERE group_id = :id
UNION ALL
SELECT position, 'group', id FROM liteq_groups WHERE group_id = :id
ORDER BY 1
"""
FOLLOWERS = "SELECT id FROM liteq_messages WHERE awaits = ? ORDER BY seq"
# There is no index by parent_id: a task's own messages bear its root, or itself as their root.
SENT = """
SELECT m.id, m.group_id FROM liteq_messages AS own
  JOIN liteq_messages AS m ON m.root_id IS NOT NULL AND m.root_id = coalesce(own.root_id, own.id)
 WHERE own.id = :id AND m.parent_id = :id AND m.awaits IS NULL
   AND (m.group_id IS NULL OR own.group_id IS NULL OR m.group_id <> own.group_id)
 ORDER BY m.seq
"""
OUTER_GROUP = "SELECT group_id FROM liteq_groups WHERE id = ? AND group_id IS NOT NULL"
WAITING = """
SELECT count(*) FROM (SELECT 1 FROM liteq_messages WHERE state = 'pending' AND queue = :queue LIMIT :limit) AS found
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A message as a reader sees it. Times are ms since the epoch; `payload`, `result`, `error`, ... are JSON.

    `worker` is the name of the worker that holds it or held it last, where that one is still known.
    """

    id: str
    task: str
    queue: str
    priority: int
    state: State
    payload: bytes
    options: bytes | None
    due_ms: int
    created_ms: int
    expires_ms: int | None
    retries: int
    crashes: int
    reaps: int
    started_ms: int | None
    finished_ms: int | None
    progress: bytes | None
    result: bytes | None
    error: bytes | None
    root_id: str | None
    parent_id: str | None
    awaits: str | None
    group_id: str | None
    position: int
    flags: int
    worker: str | None
    unique_key: str | None
    token: int | None
    keys: str | None = None  # JSON: the fair key or null, then the keys of its limits
    held_by: str | None = None  # the key that holds it back

    @property
    def has_ended(self) -> bool:
        """Whether it has finished: a state that is only shown for an id (Flag.SHOWN) has not."""
        return self.state in FINISHED and not self.flags & Flag.SHOWN


UNIQUE_KEY = [*fields_of(Record)].index("unique_key") - 5  # among the columns behind the state


class GroupRecord(NamedTuple):
    """A group's counter: of `size` members, `remaining` have not finished and `failed` did not succeed."""

    id: str
    size: int
    remaining: int
    failed: int
    group_id: str | None
    root_id: str | None
    created_ms: int
    finished_ms: int | None
    position: int = 0


class Member(NamedTuple):
    """One member of a group: `kind` is "task" or "group"."""

    position: int
    kind: str
    id: str


def _state(value: str) -> State:
    """Raises StorageCorrupt for an unknown state, which liteq did not write."""
    try:
        return State(value)
    except ValueError as error:
        raise StorageCorrupt(
            f"a message is in the unknown state {value!r}: the file is damaged; restore a backup"
        ) from error


def _record(row: Row) -> Record:
    id_, task, queue, priority, state, *rest = row
    rest[UNIQUE_KEY] = shown(rest[UNIQUE_KEY])
    return Record(id_, task, queue, priority, _state(state), *rest)


def _whole(tx: Transaction, rows: Iterable[Row], known: dict[str, bytes]) -> Iterator[Record]:
    """Records with the errors that they only refer to, each read once."""
    for row in rows:
        record = _record(row)
        if record.state is State.UPSTREAM_FAILED and record.error is not None:
            record = replace(record, error=whole(tx, record.error, known))
        yield record


def find(tx: Transaction, ids: Sequence[str]) -> Iterator[Record]:
    """The messages of these ids that exist, in the order asked for."""
    known: dict[str, bytes] = {}
    for id_ in ids:
        yield from _whole(tx, tx.execute(FIND, (id_,)), known)


def find_ended(tx: Transaction, message_id: str) -> Record | None:
    """The message of this id once it has finished, with an empty payload where that is large; one SELECT."""
    rows = tx.execute(FIND_ENDED, (message_id,))
    return _record(rows[0]) if rows else None


def have_ended(tx: Transaction, ids: Sequence[str]) -> dict[str, bool]:
    """Whether each of these messages has finished, of those that exist; nothing else of them is read."""
    return {id_: bool(ended) for id_ in ids for (ended,) in tx.execute(HAS_ENDED, (id_,))}


def find_finished(tx: Transaction, ids: Sequence[str], *, shown: bool = False) -> Iterator[Record]:
    """Those of these messages that have finished; `shown`: also states that somebody has stored for an id.

    For many of them, of which few have: one question for 512 ids.
    """
    known: dict[str, bytes] = {}
    without = 0 if shown else int(Flag.SHOWN)
    for start in range(0, len(ids), AMONG):
        some = list(ids[start : start + AMONG])
        size = 1 << (len(some) - 1).bit_length()
        rows = tx.execute(FIND_FINISHED[size], [without, *some, *some[:1] * (size - len(some))])
        yield from _whole(tx, rows, known)


def find_group(tx: Transaction, group_id: str) -> GroupRecord | None:
    """The counter of a group; None when there is none of that id."""
    for row in tx.execute(GROUP, (group_id,)):
        return GroupRecord._make(row)
    return None


def group_members(tx: Transaction, group_id: str) -> list[Member]:
    """The members of a group in the order of its result."""
    return [Member._make(row) for row in tx.execute(MEMBERS, {"id": group_id})]


def followers(tx: Transaction, node: str) -> list[str]:
    """The ids of the messages that await a message or a group, or did: callbacks, and the next step of a chain."""
    return [id_ for (id_,) in tx.execute(FOLLOWERS, (node,))]


def sent_by(tx: Transaction, message_id: str) -> list[tuple[str, bool]]:
    """The messages that the body of one sent, as (id, whether of a group): a chain's first row, a group as a whole.

    Costs a look at the messages of its root.
    """
    found: dict[tuple[str, bool], None] = {}
    for id_, group in tx.execute(SENT, {"id": message_id}):
        found[(id_, False) if group is None else (_outermost(tx, group), True)] = None
    return list(found)


def _outermost(tx: Transaction, group: str) -> str:
    outer = tx.execute(OUTER_GROUP, (group,))
    return _outermost(tx, outer[0][0]) if outer else group


def waiting(tx: Transaction, queues: Sequence[str], *, limit: int) -> int:
    """How many messages of `queues` are pending, counting no further than `limit`."""
    found = 0
    for queue in queues:
        if found < limit:
            found += int(tx.execute(WAITING, {"queue": queue, "limit": limit - found})[0][0])
    return found
