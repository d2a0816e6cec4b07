"""Every table of the schema, and whether its rows move: one of the two lists below names it.

A row that stands beside a message goes by the message's number. At the target that number is higher by a `shift`, above
all that were given out there; so the order of the messages stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from liteq.message import Flag
from liteq.states import FINISHED, FOLLOWED, State, sql_list
from liteq.storage.rows.needed import excludes, needed
from liteq.utils.records import NamedTuple

__all__ = ["ALL", "INBOX", "LEFT", "MESSAGES", "MOVED", "Moved"]

MESSAGES: Final = "liteq_messages"
INBOX: Final = "liteq_inbox"


def _waits(row: str) -> str:
    """SQL: whether `row`, a message, waits, may be replayed, or is asked for by one of those or by calls that it
    excludes, as in retention.py.
    """
    return f"""({row}.finished_ms IS NULL OR {row}.state IN {sql_list(FINISHED - FOLLOWED)} OR {needed(row)}
    OR {excludes(row)}
    OR ({row}.flags & {Flag.PERHAPS} <> 0 AND EXISTS (
        SELECT 1 FROM liteq_messages AS d
         WHERE d.id = {row}.awaits AND (d.flags & {Flag.PERHAPS} <> 0 OR ({row}.flags & {Flag.ON_FAILURE} <> 0
           AND d.state IN {sql_list((State.DEAD, State.UPSTREAM_FAILED))})))))"""


ALL = "1 = 1"


class Moved(NamedTuple):
    """A table whose rows move. `key` and `columns` are all of its columns; `which`: the rows `t` that go.

    `number`: the column of the key that is a message's number, or that number times `factor`; "" where the table has
    none. There a row of the same key at the target is replaced.
    """

    key: tuple[str, ...]
    columns: tuple[str, ...]
    which: str = ALL
    number: str = ""
    factor: int = 1

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (*self.key, *self.columns)

    def shifted(self, row: Sequence[object], by: int) -> tuple[object, ...]:
        """A row, or its key alone, with the number that it has at the other store."""
        if not self.number or not by:
            return tuple(row)
        place = self.key.index(self.number)
        return tuple(value + by * self.factor if i == place else value for i, value in enumerate(row))  # type: ignore[operator]


def _beside(
    key: Sequence[str], columns: Sequence[str], *, number: str = "run", message: str = "", factor: int = 1
) -> Moved:
    """A table whose rows go with their messages. `message`: SQL for the message's number."""
    which = f"EXISTS (SELECT 1 FROM liteq_messages AS m WHERE m.seq = {message or f't.{number}'} AND {_waits('m')})"
    return Moved(tuple(key), tuple(columns), which, number, factor)


PLACE = ("run", "gen", "scope", "pos")

MOVED: Final[Mapping[str, Moved]] = {
    "liteq_messages": Moved(
        ("seq",),
        (
            "id", "task", "queue", "priority", "state", "payload", "options", "due_ms", "expires_ms", "delay_ms",
            "created_ms", "unique_key", "flags", "root_id", "parent_id", "awaits", "group_id", "position", "token",
            "worker", "deadline_ms", "retries", "crashes", "reaps", "started_ms", "finished_ms", "progress", "result",
            "error", "cause", "keys", "held_by",
        ),
        _waits("t"), "seq",
    ),
    "liteq_bodies": _beside(("ref",), ("body",), number="ref", message="t.ref / 2", factor=2),
    "liteq_groups": Moved(
        ("id",),
        ("size", "remaining", "failed", "group_id", "position", "root_id", "created_ms", "finished_ms"),
        f"(t.finished_ms IS NULL OR {needed('t')})",
    ),
    "liteq_attempts": _beside(
        ("message", "n"), ("worker", "started_ms", "ended_ms", "outcome", "cause", "error"), number="message"
    ),
    "liteq_runs": _beside(
        ("run",),
        (
            "name", "step", "version", "input", "gen", "swept", "timeout_ms", "started_ms", "gen_ms", "deadline_ms",
            "asked", "reason", "parked", "fingerprint", "tried", "need", "fragile", "ends", "fails", "news", "spawned",
            "crash_mark", "compensated", "now", "marks", "forked_from", "seed",
        ),
    ),
    "liteq_run_tags": _beside(("tag", "run"), ()),
    "liteq_steps": _beside(
        PLACE,
        (
            "kind", "name", "key", "arghash", "attempts", "output", "error", "child", "due_ms", "waited", "ended",
            "memo", "marks", "details", "started_ms", "ended_ms",
        ),
    ),
    "liteq_step_bodies": _beside(PLACE, ("body",)),
    "liteq_intents": _beside(PLACE, ("name", "step_key", "begun", "token", "began_ms")),
    "liteq_run_state": _beside(("run", "key"), ("value",)),
    "liteq_stream": _beside(("run", "stream", "n"), ("gen", "scope", "pos", "attempt", "data")),
    "liteq_run_budgets": _beside(
        ("run", "what"), ("most", "period_ms", "since_ms", "spent", "held", "soft", "warned", "asks", "refused")
    ),
    "liteq_usage": _beside(
        ("run", "n"),
        (
            "gen", "scope", "pos", "attempt", "began_ms", "source", "workflow", "step", "model", "requests",
            "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost", "tags", "details",
            "at_ms",
        ),
    ),
    "liteq_cursors": _beside(("run",), ("cursor",)),
    "liteq_children": _beside(("run",), ("children",)),
    "liteq_places": Moved(("member",), ("group_id", "position", "created_ms")),
    "liteq_bindings": Moved(("exchange", "routing_key", "queue"), ("kind",)),
    "liteq_logs": _beside(("run",), ("keep_ms", "look_ms")),
    "liteq_inbox": Moved(
        ("id",), ("run_id", "name", "payload", "dedup", "taken", "created_ms"), number="id"
    ),
    # A claim of the memo holds as long as a lease, and none is left.
    "liteq_memo": Moved(
        ("key",),
        ("name", "output", "run", "token", "created_ms", "expires_ms", "scope", "hits", "spent"),
        "t.output IS NOT NULL",
    ),
    "liteq_sessions": Moved(("session", "n"), ("item", "step", "taken")),
    "liteq_graph_checkpoints": Moved(("thread", "ns", "id"), ("parent", "run", "versions", "form", "body")),
    "liteq_graph_writes": Moved(("thread", "ns", "id", "task", "idx"), ("path", "channel", "form", "data")),
    "liteq_graph_values": Moved(
        ("thread", "ns", "channel", "version"), ("base", "keep", "depth", "form", "data")
    ),
    "liteq_graph_blobs": Moved(("hash",), ("form", "refs", "data")),
    "liteq_graph_threads": _beside(("run", "thread"), ("lost",)),
    "liteq_graph_items": Moved(
        ("prefix", "key"), ("value", "vector", "created_ms", "updated_ms", "ttl_ms", "expires_ms")
    ),
    "liteq_schedules": Moved(
        ("name",),
        (
            "owner", "source", "schedule", "signature", "enabled", "next_due_ms", "last_run_ms", "last_id",
            "total_run_count", "created_ms",
        ),
    ),
    "liteq_limits": Moved(("key",), ("rate", "concurrent", "declared", "tokens")),
    "liteq_keys": Moved(
        ("key",),
        ("full_us", "paused_ms", "since_ms", "reason", "tokens_us", "refused", "fails", "passed", "pace"),
    ),
    "liteq_budgets": Moved(
        ("key", "what"),
        ("most", "period_ms", "since_ms", "spent", "held", "soft", "warned", "asks", "refused", "declared"),
    ),
    "liteq_spends": Moved(("name",), ("cost", "tokens", "requests")),
    "liteq_lines": Moved(("key", "queue", "priority"), ("waits", "turn")),
    "liteq_wakes": Moved(("key", "queue"), ("at",)),
    "liteq_unique": Moved(("key",), ("id", "until_ms", "boot", "until_up_ms")),
    "liteq_sends": Moved(("name",), ("place", "updated_ms")),
    "liteq_queues": Moved(("queue",), ("paused_ms", "until_ms", "actor", "reason")),
    "liteq_revoked": Moved(("id",), ("expires_ms",)),
    "liteq_revoked_stamps": Moved(("header", "stamp"), ("expires_ms",)),
    "liteq_saved_groups": Moved(("id",), ("members", "created_ms")),
    "liteq_flow_state": Moved(("scope", "key"), ("value", "version", "updated_ms")),
    "liteq_causes": Moved(
        ("id",), ("task", "queue", "exception", "frame", "message", "first_ms", "last_ms", "n", "release", "sample")
    ),
    "liteq_conversations": Moved(("id",), ("scope", "revision", "document", "updated_us")),
    "liteq_conversation_tips": Moved(("id", "entry"), ()),
    "liteq_conversation_entries": Moved(("id",), ("parent", "message")),
}  # fmt: skip

LEFT: Final[Mapping[str, str]] = {
    "liteq_meta": "the store's own: its version, epoch and tokens",
    "liteq_workers": "processes that work on the source",
    "liteq_slots": "the places of leases, and nothing is leased",
    "liteq_reserved": "what is held for leases, and nothing is leased",
    "liteq_commands": "to workers of the source",
    "liteq_replies": "of workers of the source",
    "liteq_listeners": "processes that listen at the source",
    "liteq_passing": "for those who listen at the source",
    "liteq_operations": "acts on rows of the source, by their numbers there",
    "liteq_batches": "a history: executed together at the source",
    "liteq_events": "a history: what became of tasks at the source",
    "liteq_stats": "a history: sums of what ran at the source",
    "liteq_samples": "a history: measures of the source",
    "liteq_audit": "a history: acts of people at the source",
    "liteq_marks": "a history: lines in the source's charts",
    "liteq_alerts": "what was told of the source; the target is looked at anew",
}
