"""The history of a run, as the process that executes it reads it: one query, one snapshot."""

from __future__ import annotations

from liteq.storage.driver import Transaction
from liteq.storage.runs.records import History
from liteq.storage.steps import rows
from liteq.storage.steps.activation import look_at

__all__ = ["history"]


def history(tx: Transaction, run: int) -> History:
    """The steps of a run in its present generation. Raises LookupError."""
    facts = look_at(tx, run)
    if facts is None:
        raise LookupError(f"no run has the number {run}")
    steps = rows.read(tx, run, facts.gen)
    return History(facts, steps, rows.marks_of([facts.marks, *(step.marks for step in steps)]))
