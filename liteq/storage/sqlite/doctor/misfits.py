"""Rows that another program wrote, and that no verb can take: text where a number belongs, an id that is no text.

SQLite stores in a column what it is given. A row like that among the next ones to claim would stop every worker of the
file. Such a row becomes a dead letter that says why, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from liteq.exceptions import BadMessage
from liteq.message import new_id
from liteq.serialization import encode_error
from liteq.serialization.tags import SEAL
from liteq.states import FINISHED, State, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.upkeep import Misfit

__all__ = ["bury"]

LIMIT = 1_000  # rows of one look: another look follows where there are more, and of texts the next page

# The columns of liteq_messages by the kind of value that a verb expects there, each with a value that does no harm.
NEEDED: Mapping[str, tuple[str, object]] = {
    "id": ("text", None), "task": ("text", "unknown"), "queue": ("text", "unknown"), "priority": ("integer", 0),
    "payload": ("blob", b"[[],{}]"), "due_ms": ("integer", 0), "created_ms": ("integer", 0), "flags": ("integer", 0),
    "position": ("integer", 0), "retries": ("integer", 0), "crashes": ("integer", 0), "reaps": ("integer", 0),
}  # fmt: skip
OPTIONAL: Mapping[str, str] = {
    "options": "blob", "expires_ms": "integer", "delay_ms": "integer", "unique_key": "text", "root_id": "text",
    "parent_id": "text", "awaits": "text", "group_id": "text", "token": "integer", "worker": "integer",
    "deadline_ms": "integer", "started_ms": "integer", "progress": "blob", "result": "blob", "error": "blob",
}  # fmt: skip
KINDS = {**{name: kind for name, (kind, _) in NEEDED.items()}, **OPTIONAL}
OPEN = f"substr(options, 1, {len(SEAL)}) <> x'{SEAL.hex()}'"  # what a codec has sealed is no JSON
UNFINISHED = sql_list([state for state in State if state not in FINISHED])
# A whole number of 64 bits is among the integers, an empty payload means that a body stands beside the row.
WRONG = " OR ".join(
    [
        *(f"typeof({name}) <> '{kind}'" for name, (kind, _) in NEEDED.items()),
        *(f"typeof({name}) NOT IN ('{kind}', 'null')" for name, kind in OPTIONAL.items()),
        f"options IS NOT NULL AND NOT json_valid(CAST(options AS TEXT)) AND {OPEN}",
        "length(payload) = 0 AND NOT EXISTS (SELECT 1 FROM liteq_bodies WHERE ref = 2 * seq)",
    ]
)
FIND = f"SELECT seq FROM liteq_messages WHERE state IN {UNFINISHED} AND ({WRONG}) LIMIT {LIMIT}"
# Text that is no UTF-8 is found by reading it: the bytes of the rows that a claim may come to, a page at a time.
TEXTS = [name for name, kind in KINDS.items() if kind == "text"]
NEXT = f"""
SELECT seq, {", ".join(f"CAST({name} AS BLOB)" for name in TEXTS)} FROM liteq_messages
 WHERE state IN ('{State.PENDING}', '{State.LEASED}') AND seq > ? ORDER BY seq LIMIT {LIMIT}
"""
LOOK = f"""
SELECT {", ".join(f"typeof({name}), CAST({name} AS BLOB)" for name in KINDS)} FROM liteq_messages WHERE seq = ?
"""


def bury(tx: Transaction, *, now_ms: int) -> list[Misfit]:
    """Make dead letters of the rows that no verb can take, at most `LIMIT` of each kind.

    Columns that cannot be read get a value that does no harm; the error of the dead letter tells the old one.
    """
    found = {row[0] for row in tx.execute(FIND)} | _undecodable(tx)
    return [_bury_one(tx, seq, now_ms) for seq in sorted(found)]


def _undecodable(tx: Transaction) -> set[int]:
    """The rows with a text that is none, of the first page that has any."""
    found: set[int] = set()
    after = 0
    while not found and (rows := tx.execute(NEXT, (after,))):
        after = rows[-1][0]
        found = {seq for seq, *texts in rows if not all(text is None or _is_text(text) for text in texts)}
    return found


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bury_one(tx: Transaction, seq: int, now_ms: int) -> Misfit:
    (row,) = tx.execute(LOOK, (seq,))
    wrong: list[str] = []
    values: dict[str, object] = {}
    for i, (name, kind) in enumerate(KINDS.items()):
        found, data = row[2 * i], row[2 * i + 1]
        if found == "null" and name in OPTIONAL:
            continue
        if found != kind or (kind == "text" and not _is_text(data)) or not _fits(name, data):
            wrong.append(f"{name} {_shown(data)}")
            values[name] = new_id() if name == "id" else NEEDED[name][1] if name in NEEDED else None
    reason = f"row {seq} was not written by liteq, which cannot run it: {', '.join(wrong) or 'its arguments are gone'}"
    error = encode_error(BadMessage(reason))
    values |= {"state": State.DEAD.value, "error": error, "finished_ms": now_ms}
    columns = ", ".join(f"{name} = ?" for name in values)
    tx.execute(f"UPDATE liteq_messages SET {columns} WHERE seq = ?", (*values.values(), seq))
    (id_, group_id) = tx.execute("SELECT id, group_id FROM liteq_messages WHERE seq = ?", (seq,))[0]
    return Misfit(id_, group_id, error)


def _fits(name: str, data: bytes) -> bool:
    if name != "options":
        return True
    try:
        return data.startswith(SEAL) or isinstance(json.loads(data), dict)
    except ValueError:
        return False


def _shown(data: bytes | None) -> str:
    return "is missing" if data is None else f"{data[:40]!r}"
