"""Writing values anew under the present key of the codec: those under older keys, and those of before there was one.

A row is looked for without the write lock, and written under it with a few others: workers go on. What cannot be opened
here stays as it is. A row that is written meanwhile is under the present key by that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from liteq.serialization.sealing import Private, key_of
from liteq.serialization.tags import SEAL
from liteq.storage.driver import LOCK, Driver, Promise, Row, Transaction
from liteq.storage.rows.payloads import PAYLOAD_COLUMN
from liteq.utils.records import NamedTuple

__all__ = ["VALUES", "Resealed", "Standing", "Values", "count", "key_of_message", "reseal"]

FOUND = 200  # rows of one look
WRITTEN = 20  # ... of one transaction: 20 of the largest take some 50 ms of it
SAMPLES = 1_000  # values of each table whose keys are told


class Values(NamedTuple):
    """The columns of a table that a codec seals, and those that tell its rows apart. `texts` hold text (`Private`)."""

    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


PLACE = ("run", "gen", "scope", "pos")
VALUES: Mapping[str, Values] = {
    "liteq_messages": Values(("seq",), ("payload", "options", "progress", "result", "error")),
    "liteq_bodies": Values(("ref",), ("body",)),
    "liteq_attempts": Values(("message", "n"), ("error",)),
    "liteq_causes": Values(("id",), (), ("message",)),
    "liteq_runs": Values(("run",), ("input", "tried", "now", "marks")),
    "liteq_steps": Values(PLACE, ("arghash", "output", "error", "marks", "details")),
    "liteq_step_bodies": Values(PLACE, ("body",)),
    "liteq_inbox": Values(("id",), ("payload",)),
    "liteq_run_state": Values(("run", "key"), ("value",)),
    "liteq_stream": Values(("run", "stream", "n"), ("data",)),
    "liteq_cursors": Values(("run",), ("cursor",)),
    "liteq_children": Values(("run",), ("children",)),
    "liteq_passing": Values(("id",), ("body",)),
    "liteq_batches": Values(("last",), ("members",)),
    "liteq_memo": Values(("key",), ("output", "spent")),
    "liteq_sessions": Values(("session", "n"), ("item",)),
    "liteq_usage": Values(("run", "n"), ("details",)),
    "liteq_conversations": Values(("id",), ("document",)),
    "liteq_conversation_entries": Values(("id",), ("message",)),
    "liteq_flow_state": Values(("scope", "key"), ("value",)),
    "liteq_graph_checkpoints": Values(("thread", "ns", "id"), ("versions", "body")),
    "liteq_graph_writes": Values(("thread", "ns", "id", "task", "idx"), ("data",)),
    "liteq_graph_values": Values(("thread", "ns", "channel", "version"), ("data",)),
    "liteq_graph_blobs": Values(("hash",), ("data",)),
    "liteq_graph_items": Values(("prefix", "key"), ("value", "vector")),
    "liteq_schedules": Values(("name",), ("schedule", "signature")),
    "liteq_saved_groups": Values(("id",), ("members",)),
    "liteq_commands": Values(("id",), ("arguments", "destination")),
    "liteq_replies": Values(("command", "worker"), ("reply",)),
    "liteq_events": Values(("id",), ("event",)),
    "liteq_operations": Values(("id",), ("arguments", "queues", "cursor")),
}


def _other(one: Values) -> str:
    """The condition that a row has a value that is not under the present key."""
    return " OR ".join(
        [
            *(f"(length({name}) > 0 AND substr({name}, 1, :size) <> :head)" for name in one.columns),
            *(f"(length({name}) > 0 AND substr({name}, 1, :size) <> :text_head)" for name in one.texts),
        ]
    )


def _these(one: Values) -> str:
    return " AND ".join(f"{name} = :{name}" for name in one.key)


def _names(names: Sequence[str], before: str = "") -> str:
    return ", ".join(f"{before}{name}" for name in names)


FIRST = {
    table: f"SELECT {_names(one.key)} FROM {table} WHERE {_other(one)} ORDER BY {_names(one.key)} LIMIT :limit"
    for table, one in VALUES.items()
}
NEXT = {
    table: f"SELECT {_names(one.key)} FROM {table} WHERE ({_names(one.key)}) > ({_names(one.key, ':')}) "
    f"AND ({_other(one)}) ORDER BY {_names(one.key)} LIMIT :limit"
    for table, one in VALUES.items()
}
READ = {
    table: f"SELECT {_names([*one.columns, *one.texts])} FROM {table} WHERE {_these(one)} AND ({_other(one)}) {LOCK}"
    for table, one in VALUES.items()
}
WRITE = {
    table: f"UPDATE {table} SET {', '.join(f'{name} = :new_{name}' for name in [*one.columns, *one.texts])} "
    f"WHERE {_these(one)}"
    for table, one in VALUES.items()
}
COUNT = {
    f"{table}.{name}": f"SELECT count(*), count(CASE WHEN substr({name}, 1, :size) = :{head} THEN 1 END), "
    f"count(CASE WHEN substr({name}, 1, :seal_size) = :{seal} THEN 1 END) FROM {table} WHERE length({name}) > 0"
    for table, one in VALUES.items()
    for names, head, seal in ((one.columns, "head", "seal"), (one.texts, "text_head", "text_seal"))
    for name in names
}
# Without their first bytes, so that nobody tries to open them.
KEYS = {
    f"{table}.{name}": f"SELECT substr({name}, :seal_size + 1, 65) FROM {table} WHERE length({name}) > 0 "
    f"AND substr({name}, 1, :seal_size) = :{seal} AND substr({name}, 1, :size) <> :{head} LIMIT :limit"
    for table, one in VALUES.items()
    for names, head, seal in ((one.columns, "head", "seal"), (one.texts, "text_head", "text_seal"))
    for name in names
}


# Of one message, likewise.
KEY_OF = f"""
SELECT substr({PAYLOAD_COLUMN}, :seal_size + 1, 65) FROM liteq_messages AS m
 WHERE m.id = :id AND substr({PAYLOAD_COLUMN}, 1, :seal_size) = :seal
"""


class Standing(NamedTuple):
    """The values of one column: how many there are, how many are under the present key, and how many in the open.

    `others`: ids of other keys under which some are, as far as was looked.
    """

    values: int
    present: int
    plain: int
    others: frozenset[str]


class Resealed(NamedTuple):
    """The state of a rotation, which is at `table`: rows that were written anew, in all tables; and the values, by the
    ids of their keys, that could not be opened here.
    """

    table: str
    rows: int
    unopened: Mapping[str, int]


def _heads(head: bytes) -> dict[str, Any]:
    """The parameters that tell a value under the present key: `head` is how such a one begins."""
    text = head[:-1].decode() + ";"
    return {
        "head": head, "text_head": text, "size": len(head),
        "seal": SEAL, "text_seal": SEAL.decode(), "seal_size": len(SEAL),
    }  # fmt: skip


def _for(sql: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `params` that `sql` names: an engine may refuse others."""
    return {name: value for name, value in params.items() if f":{name}" in sql}


def count(tx: Transaction, head: bytes) -> dict[str, Standing]:
    """How the values of each column stand, by "table.column"; `head` is how one under the present key begins."""
    params = {**_heads(head), "limit": SAMPLES}
    found = {}
    for column, sql in COUNT.items():
        values, present, sealed = tx.execute(sql, _for(sql, params))[0]
        others: set[str] = set()
        if sealed > present:
            others = {_key_in(start) for (start,) in tx.execute(KEYS[column], _for(KEYS[column], params))}
        found[column] = Standing(values, present, values - sealed, frozenset(others))
    return found


def key_of_message(tx: Transaction, id_: str) -> str | None:
    """The id of the key under which its arguments are sealed, "" where its codec has told none; None: under none."""
    rows = tx.execute(KEY_OF, {"id": id_, "seal": SEAL, "seal_size": len(SEAL)})
    return _key_in(rows[0][0]) if rows else None


def _key_in(start: bytes | str) -> str:
    if isinstance(start, str):
        return start.partition(";")[0]
    return bytes(start).partition(b"\0")[0].decode("ascii", "replace")


def reseal(driver: Driver, head: bytes) -> Iterator[Resealed]:
    """Write anew what does not begin with `head`, a few rows a step; `driver` has the vault. Raises CodecError."""
    rows, unopened = 0, Counter[str]()
    for table in VALUES:
        yield Resealed(table, rows, unopened)
        after: Row | None = None
        while keys := _find(driver, table, head, after):
            after = keys[-1]
            for i in range(0, len(keys), WRITTEN):
                with driver.write(Promise.ACCEPTED) as tx:
                    for key in keys[i : i + WRITTEN]:
                        rows += _write(tx, table, key, head, unopened)
                yield Resealed(table, rows, unopened)


def _find(driver: Driver, table: str, head: bytes, after: Row | None) -> list[Row]:
    """The keys of the next rows that have a value under another key, or in the open."""
    params: dict[str, Any] = {**_heads(head), "limit": FOUND}
    sql = FIRST[table]
    if after is not None:
        sql = NEXT[table]
        params |= dict(zip(VALUES[table].key, after, strict=True))
    with driver.read(alone=True) as tx:
        return tx.execute(sql, _for(sql, params))


def _write(tx: Transaction, table: str, key: Row, head: bytes, unopened: Counter[str]) -> int:
    """Write one row anew; 1 where it was, 0 where nothing could be opened, or nothing is left to do."""
    one = VALUES[table]
    params = {**_heads(head), **dict(zip(one.key, key, strict=True))}
    for row in tx.execute(READ[table], _for(READ[table], params)):
        values = dict(zip([*one.columns, *one.texts], row, strict=True))
        closed = [key_id for value in values.values() if (key_id := key_of(value)) is not None]
        unopened.update(closed)
        if len(closed) == sum(1 for value in values.values() if value):
            return 0
        new = {f"new_{name}": Private(value) if name in one.texts else value for name, value in values.items()}
        tx.execute(WRITE[table], {**new, **{name: params[name] for name in one.key}})
        return 1
    return 0
