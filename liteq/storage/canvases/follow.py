"""Unique keys in a canvas: a part whose key is held follows the message that holds it.

Such a part is an alias: it runs nothing, and ends as what it follows ends. Two parts are different:

- what the holder itself waits for goes without the key, which the holder keeps until both have ended: following it
  would be a circle;
- what stands behind an errback may not be needed at all, so it takes its key when it is unblocked (Flag.LATE_KEY).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import orjson

from liteq.message import Batch, Flag, Message
from liteq.storage.driver import LOCK, Transaction
from liteq.storage.rows.needed import OPEN
from liteq.utils.records import NamedTuple

__all__ = [
    "STOPS", "UNDER_ITS_ID", "Waiter", "as_alias", "before", "holder_of", "link", "of_errbacks", "take_keys",
    "waits_for", "with_late_key",
]  # fmt: skip

KEY = "unique_key"  # in the document of a row with a late one
HOLDER = f"SELECT id FROM liteq_messages WHERE unique_key = ? AND finished_ms IS NULL {LOCK}"
# Its lease, should it run, says nothing of a follower: `settle` looks for this flag before it ends one without.
LINK = f"UPDATE liteq_messages SET flags = flags | {Flag.LINKED} WHERE id = ? AND flags & {Flag.LINKED} = 0"
NEEDS = f"""
SELECT awaits FROM liteq_messages WHERE id = :id AND state = 'blocked' AND awaits IS NOT NULL
UNION ALL SELECT id FROM liteq_messages WHERE group_id = :id AND state IN {OPEN}
UNION ALL SELECT id FROM liteq_groups WHERE group_id = :id AND remaining > 0
"""
LATE = f"""
SELECT seq, id, options FROM liteq_messages
 WHERE awaits = ? AND state = 'blocked' AND flags & {Flag.LATE_KEY} <> 0 AND flags & {Flag.ON_FAILURE} = ?
"""
TAKE_KEY = "UPDATE liteq_messages SET unique_key = ? WHERE seq = ?"
STOPS = Flag.ON_FAILURE | Flag.TAKES_INPUT  # what an alias is not, whatever the row was to be
BECOME_ALIAS = f"""
UPDATE liteq_messages SET state = 'blocked', awaits = :holder, unique_key = NULL, delay_ms = NULL,
       flags = (flags & ~{STOPS}) | {Flag.ALIAS | Flag.FOLLOWS}
 WHERE seq = :seq
"""


class Waiter(NamedTuple):
    """A row or group of the file that waits for nodes of a batch: a replaced message, a group that grows."""

    id: str
    awaits: Collection[str]


UNDER_ITS_ID = Waiter("", ())
"""For callers that have told the ids already: where a unique key is held, a row under that id follows the holder."""


def holder_of(tx: Transaction, key: str) -> str | None:
    """The id of the unfinished message that holds `key`; None where it is free."""
    for (holder,) in tx.execute(HOLDER, (key,)):
        return str(holder)
    return None


def link(tx: Transaction, node: str) -> None:
    """Let the end of a message reach those that await it, who came after it."""
    tx.executemany(LINK, [(node,)])


def as_alias(message: Message, holder: str) -> Message:
    """`message` as the row that follows `holder`."""
    flags = (message.flags & ~STOPS) | Flag.ALIAS | Flag.FOLLOWS
    return replace(message, awaits=holder, unique_key=None, delay_ms=None, flags=flags)


def waits_for(tx: Transaction, node: str, others: Collection[str]) -> bool:
    """Whether the end of `node` comes after that of one of `others`, or it is one of them."""
    todo, seen = [node], set[str]()
    while todo:
        one = todo.pop()
        if one in others:
            return True
        if one not in seen:
            seen.add(one)
            todo += [id_ for (id_,) in tx.execute(NEEDS, {"id": one})]
    return False


def before(batch: Batch, nodes: Collection[str]) -> set[str]:
    """`nodes` and what must end before them, inside `batch`, whose rows stand behind those that they await."""
    inner: dict[str, list[str]] = {}
    for group in batch.groups:
        inner.setdefault(group.group_id or "", []).append(group.id)
    found: set[str] = set()

    def add(nodes: Iterable[str]) -> None:
        todo = list(nodes)
        while todo:
            node = todo.pop()
            found.add(node)
            todo += inner.get(node, ())

    add(nodes)
    for message in reversed(batch.messages):
        if message.id in found or message.group_id in found:
            add([message.id] if message.awaits is None else [message.id, message.awaits])
    return found


# -- keys of what may not be needed ----------------------------------------------------------------------------------


def of_errbacks(messages: Sequence[Message], batch: Batch) -> Sequence[Message]:
    """`messages` of `batch`, where errbacks and what stands behind them have late keys, and stay when they have run.

    They may be called again: when what they are for is replayed and fails once more.
    """
    if not any(m.flags & Flag.ON_FAILURE for m in messages):
        return messages
    around = {group.id: group.group_id for group in batch.groups}
    perhaps: set[str | None] = set()
    made = []
    for m in messages:
        if m.flags & Flag.ON_FAILURE or (m.awaits is not None and m.awaits in perhaps):
            perhaps.add(m.id)
            outer = m.group_id
            while outer is not None and outer not in perhaps:
                perhaps.add(outer)
                outer = around.get(outer)
            m = replace(m, flags=m.flags | Flag.PERHAPS) if m.unique_key is None else _late(m)  # noqa: PLW2901
        made.append(m)
    return made


def _late(message: Message) -> Message:
    options, flags = with_late_key(message.options, message.unique_key), message.flags | Flag.PERHAPS | Flag.LATE_KEY
    return replace(message, unique_key=None, options=options, flags=flags)


def with_late_key(options: bytes | None, key: str | None) -> bytes:
    """The options of a row with a late `key`; it has it once more when it is called once more."""
    document = orjson.loads(options) if options else {}
    return orjson.dumps({**document, KEY: key})


def take_keys(tx: Transaction, awaited: str, *, of: int) -> None:
    """Let the rows behind `awaited` that are about to be unblocked take their late keys, or follow the holders.

    `of`: Flag.ON_FAILURE for its errbacks, 0 for the others.
    """
    for seq, id_, options in tx.execute(LATE, (awaited, int(of))):
        take_key(tx, seq, id_, orjson.loads(options)[KEY])


def take_key(tx: Transaction, seq: int, id_: str, key: str) -> bool:
    """Give the row `id_` its `key`, or make it follow the holder; False then."""
    holder = holder_of(tx, key)
    if holder is None:
        tx.executemany(TAKE_KEY, [(key, seq)])
        return True
    if waits_for(tx, holder, {id_}):
        tx.executemany(TAKE_KEY, [(None, seq)])
        return True
    link(tx, holder)
    tx.executemany(BECOME_ALIAS, [{"seq": seq, "holder": holder}])
    return False
