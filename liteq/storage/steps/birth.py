"""A run's row beside its message, and tags: written with it, by every door."""

from __future__ import annotations

from collections.abc import Iterable

from liteq.message import Flag, Message, RunSpec
from liteq.storage.driver import Transaction

__all__ = ["add_runs", "add_tags", "change_run", "change_tags", "input_hash", "tag"]

# Only beside a message that is a run: the id may be that of another, which stands for this one.
ADD = f"""
INSERT INTO liteq_runs (run, name, step, version, input, timeout_ms, forked_from)
SELECT seq, ?, ?, ?, ?, ?, ? FROM liteq_messages WHERE id = ? AND flags & {Flag.RUN} <> 0
ON CONFLICT DO NOTHING
"""
BUDGET = f"""
INSERT INTO liteq_run_budgets (run, what, most, period_ms, since_ms, soft, asks)
SELECT seq, ?, ?, ?, created_ms, ?, ? FROM liteq_messages WHERE id = ? AND flags & {Flag.RUN} <> 0
ON CONFLICT DO NOTHING
"""
BUDGET_OF = BUDGET.replace("WHERE id = ?", "WHERE seq = ?")
NO_BUDGET = "DELETE FROM liteq_run_budgets WHERE run = ?"
TAG_BY_ID = f"""
INSERT INTO liteq_run_tags (tag, run)
SELECT ?, seq FROM liteq_messages WHERE id = ? AND flags & {Flag.RUN | Flag.TAGGED} <> 0
ON CONFLICT DO NOTHING
"""
CHANGE = "UPDATE liteq_runs SET version = ?, input = ?, timeout_ms = ? WHERE run = ?"
TAG = "INSERT INTO liteq_run_tags (tag, run) VALUES (?, ?) ON CONFLICT DO NOTHING"
NO_TAGS = "DELETE FROM liteq_run_tags WHERE run = ?"
PLAIN = RunSpec()


def input_hash(task: str, payload: bytes) -> bytes:
    """The mark by which the same call is known: of the workflow's name and its arguments."""
    from hashlib import blake2b  # its library is large, and only runs have use for it

    return blake2b(payload, digest_size=16, key=task.encode()[:64]).digest()


def add_runs(tx: Transaction, messages: Iterable[Message]) -> None:
    """Write the rows of those of `messages` that are runs; a run that was there before keeps its own."""
    for m in messages:
        if m.flags & Flag.RUN:
            spec = m.run or PLAIN
            step = int(bool(m.flags & Flag.STEP))
            row = (m.task, step, spec.version, input_hash(m.task, m.payload), spec.timeout_ms, spec.forked_from, m.id)
            if tx.executemany(ADD, [row]) and (spec.tags or spec.budget):
                tx.executemany(TAG_BY_ID, [(tag, m.id) for tag in spec.tags])
                tx.executemany(BUDGET, [(*limit, m.id) for limit in spec.budget])


def change_run(tx: Transaction, seq: int, message: Message) -> None:
    """Give the run of this number, which has not begun, the input and the options of `message`."""
    spec = message.run or PLAIN
    row = (spec.version, input_hash(message.task, message.payload), spec.timeout_ms, seq)
    tx.executemany(CHANGE, [row])
    tag(tx, seq, spec.tags)
    tx.executemany(NO_BUDGET, [(seq,)])
    tx.executemany(BUDGET_OF, [(*limit, seq) for limit in spec.budget])


def add_tags(tx: Transaction, messages: Iterable[Message]) -> None:
    """Write the tags of those of `messages` that have some, and are no runs."""
    tx.executemany(TAG_BY_ID, [(tag, m.id) for m in messages for tag in m.tags])


def change_tags(tx: Transaction, seq: int, tags: Iterable[str]) -> None:
    """Let a message have these tags in the place of its own."""
    tx.executemany(NO_TAGS, [(seq,)])
    tag(tx, seq, tags)


def tag(tx: Transaction, run: int, tags: Iterable[str]) -> None:
    """Add tags to the run, or the message, of this number."""
    tx.executemany(TAG, [(tag, run) for tag in tags])
