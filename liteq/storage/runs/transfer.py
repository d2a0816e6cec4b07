"""A run as a document, and back: for an archive, a bug report, a replay against other code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from liteq.exceptions import RunConflict, RunNotFound
from liteq.message import Flag, StepRow
from liteq.states import FINISHED, UNFINISHED, State, sql_list
from liteq.storage.driver import Transaction
from liteq.storage.rows.payloads import (
    BESIDE,
    INLINE_BYTES,
    PAYLOAD_COLUMN,
    RESULT_COLUMN,
    payload_ref,
    result_ref,
    store,
)
from liteq.storage.runs.again import IN_USE
from liteq.storage.runs.listing import NUMBER, TAGS
from liteq.storage.runs.records import NO_CODE
from liteq.storage.steps import rows
from liteq.storage.steps.closing import apart
from liteq.storage.steps.wake import child_ended

__all__ = ["bring", "export"]

MESSAGE: Final = (
    "id", "task", "queue", "priority", "state", "options", "due_ms", "expires_ms", "created_ms", "flags", "root_id",
    "parent_id", "retries", "crashes", "reaps", "started_ms", "finished_ms", "error", "keys",
)  # fmt: skip
RUN: Final = (
    "name", "step", "version", "input", "gen", "timeout_ms", "started_ms", "gen_ms", "deadline_ms", "asked", "reason",
    "parked", "fingerprint", "ends", "fails", "spawned", "crash_mark", "compensated", "marks", "forked_from", "seed",
)  # fmt: skip
READ_MESSAGE = f"""
SELECT {", ".join(f"m.{name}" for name in MESSAGE)}, {PAYLOAD_COLUMN}, {RESULT_COLUMN}
  FROM liteq_messages AS m WHERE m.seq = ?
"""
READ_RUN = f"SELECT {', '.join(RUN)} FROM liteq_runs WHERE run = ?"
READ_STATE = "SELECT key, value FROM liteq_run_state WHERE run = ? ORDER BY key"
READ_STREAM = """
SELECT stream, n, gen, scope, pos, attempt, data FROM liteq_stream WHERE run = ? ORDER BY stream, n
"""
READ_INTENTS = """
SELECT gen, scope, pos, name, step_key, begun, token, began_ms FROM liteq_intents
 WHERE run = ? AND gen = ? ORDER BY scope, pos
"""
READ_BUDGET = """
SELECT what, most, period_ms, since_ms, spent, soft, warned, asks FROM liteq_run_budgets WHERE run = ? ORDER BY what
"""
READ_INBOX = "SELECT name, payload, dedup, taken, created_ms FROM liteq_inbox WHERE run_id = ? ORDER BY id"
WRITE_MESSAGE = f"""
INSERT INTO liteq_messages ({", ".join(MESSAGE)}, payload, result, position)
VALUES ({", ".join(f":{name}" for name in MESSAGE)}, :payload, :result, 0)
RETURNING seq
"""
WRITE_RUN = f"INSERT INTO liteq_runs (run, {', '.join(RUN)}) VALUES (:run, {', '.join(f':{name}' for name in RUN)})"
TRIED = "UPDATE liteq_runs SET tried = ? WHERE run = ?"
WRITE_TAG = "INSERT INTO liteq_run_tags (run, tag) VALUES (?, ?)"
WRITE_STATE = "INSERT INTO liteq_run_state (run, key, value) VALUES (?, ?, ?)"
WRITE_STREAM = """
INSERT INTO liteq_stream (run, stream, n, gen, scope, pos, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
WRITE_INTENT = """
INSERT INTO liteq_intents (run, gen, scope, pos, name, step_key, begun, token, began_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
WRITE_BUDGET = """
INSERT INTO liteq_run_budgets (run, what, most, period_ms, since_ms, spent, soft, warned, asks)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
WRITE_INBOX = "INSERT INTO liteq_inbox (run_id, name, payload, dedup, taken, created_ms) VALUES (?, ?, ?, ?, ?, ?)"
IS_AWAITED = "SELECT 1 FROM liteq_steps WHERE child = ? AND child IS NOT NULL AND ended_ms IS NULL LIMIT 1"
AWAITED = f"""
UPDATE liteq_messages SET flags = flags | {Flag.CHILD | Flag.LINKED} WHERE id = ? AND state IN {sql_list(UNFINISHED)}
"""
ENDED = f"SELECT state, error FROM liteq_messages WHERE id = ? AND state IN {sql_list(FINISHED)}"


def export(tx: Transaction, run_id: str) -> dict[str, Any]:
    """A run with the steps of its present generation, as a document of plain values. Raises RunNotFound."""
    for (seq,) in tx.execute(NUMBER, (run_id,)):
        (*message, payload, result) = tx.execute(READ_MESSAGE, (seq,))[0]
        run = dict(zip(RUN, tx.execute(READ_RUN, (seq,))[0], strict=True))
        return {
            "message": {**dict(zip(MESSAGE, message, strict=True)), "payload": payload, "result": result},
            "run": run,
            "steps": [step._asdict() for step in rows.read(tx, seq, run["gen"])],
            "tags": [tag for (tag,) in tx.execute(TAGS, (seq,))],
            "state": dict(tx.execute(READ_STATE, (seq,))),
            "stream": [list(row) for row in tx.execute(READ_STREAM, (seq,))],
            "intents": [list(row) for row in tx.execute(READ_INTENTS, (seq, run["gen"]))],
            "budget": [list(row) for row in tx.execute(READ_BUDGET, (seq,))],
            "inbox": [list(row) for place in (apart(seq, run_id), run_id) for row in tx.execute(READ_INBOX, (place,))],
        }
    raise RunNotFound(f"no run {run_id!r} is known here: there is nothing to export")


def bring(tx: Transaction, document: Mapping[str, Any], *, now_ms: int) -> str:
    """Write an exported run; one that had not ended is stuck, so that it does not run in two places. Its id.

    Its calls wait for those of their children that are here, and a call of a run that is here for its end.

    Raises RunConflict where the id is in use.
    """
    message, run = dict(document["message"]), dict(document["run"])
    id_: str = message["id"]
    if tx.execute(IN_USE, {"id": id_}):
        raise RunConflict(f"the id {id_!r} is in use: nothing was imported of that run")
    if State(message["state"]) not in FINISHED:
        message["state"], run["parked"] = State.BLOCKED.value, "stuck"
    flags = message["flags"] & ~(Flag.LINKED | Flag.CHILD | Flag.ASKED)
    payload, result = message.pop("payload"), message.pop("result")
    beside = {"payload": _short(payload), "result": _short(result), "flags": flags, "keys": message.get("keys")}
    for (seq,) in tx.execute(WRITE_MESSAGE, {**message, **beside}):
        large = [(payload_ref(seq), payload), (result_ref(seq), result)]
        store(tx, [(ref, body) for ref, body in large if body is not None and len(body) > INLINE_BYTES])
        tx.executemany(WRITE_RUN, [{**run, "run": seq}])
        tx.executemany(TRIED, [(orjson.dumps([NO_CODE]), seq)])  # by no worker before it is resumed
        rows.write_new(tx, seq, run["gen"], [StepRow(**step) for step in document["steps"]])
        tx.executemany(WRITE_TAG, [(seq, tag) for tag in document["tags"]])
        tx.executemany(WRITE_STATE, [(seq, key, value) for key, value in document["state"].items()])
        tx.executemany(WRITE_STREAM, [(seq, *row) for row in document["stream"]])
        tx.executemany(WRITE_BUDGET, [(seq, *row) for row in document.get("budget", ())])
        tx.executemany(WRITE_INTENT, [(seq, *row) for row in document.get("intents", ())])
        place = apart(seq, id_) if message["state"] == State.DEAD else id_
        tx.executemany(WRITE_INBOX, [(place, *row) for row in document["inbox"]])
    _join(tx, [id_, *(step["child"] for step in document["steps"] if step["child"] is not None)], now_ms=now_ms)
    return id_


def _join(tx: Transaction, ids: Iterable[str], *, now_ms: int) -> None:
    """Have the ends of these told to the runs whose calls wait for them; those that have ended are told now."""
    for id_ in ids:
        if tx.execute(IS_AWAITED, (id_,)) and not tx.executemany(AWAITED, [(id_,)]):
            for state, error in tx.execute(ENDED, (id_,)):
                child_ended(tx, id_, ok=state == State.SUCCEEDED, error=error, now_ms=now_ms)


def _short(body: bytes | None) -> bytes | None:
    return BESIDE if body is not None and len(body) > INLINE_BYTES else body
