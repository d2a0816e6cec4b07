"""A file that is shut: triggers of its own refuse every change, whatever process and version makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from liteq.storage.driver import Transaction

__all__ = ["reopen", "shut"]

CHANGES = ("INSERT", "UPDATE", "DELETE")
REFUSAL = "this queue is being moved: nothing is sent, claimed or changed until `liteq move` has ended"


def shut(tx: Transaction, tables: Sequence[str]) -> None:
    """As `Upkeep.shut`."""
    for name, table, change in _triggers(tables):
        tx.execute(
            f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {change} ON {table} "
            "WHEN (SELECT value FROM liteq_meta WHERE key = 'shut') = 1 "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )


def reopen(tx: Transaction, tables: Sequence[str]) -> None:
    """As `Upkeep.reopen`."""
    for name, _, _ in _triggers(tables):
        tx.execute(f"DROP TRIGGER IF EXISTS {name}")


def _triggers(tables: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for table in tables:
        for change in CHANGES:
            yield f"{table}_shut_{change.lower()}", table, change
