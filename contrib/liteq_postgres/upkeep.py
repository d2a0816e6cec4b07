"""The part of the driver that keeps the store: shut while it is moved, a new epoch, and no copies of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from liteq.exceptions import StorageError
from liteq.storage.driver import Driver, Transaction
from liteq_postgres import epoch, shutting

__all__ = ["ServerUpkeep"]


class ServerUpkeep(Driver):
    """`upkeep.Upkeep` of a server's schema. What needs the driver's connections is its subclass's (driver.py)."""

    def shut(self, tx: Transaction, tables: Sequence[str]) -> None:
        shutting.shut(tx, tables)

    def reopen(self, tx: Transaction, tables: Sequence[str]) -> None:
        shutting.reopen(tx, tables)

    def number_on(self, tx: Transaction, table: str, column: str) -> None:
        shutting.number_on(tx, table, column)

    def begin_epoch(self, tx: Transaction) -> int:
        return epoch.next_one(tx)

    def backup(self, target: Path) -> None:
        raise StorageError(
            f"a queue on a server is not copied by liteq: nothing was written to {target}; use pg_dump, or the "
            "server's own base backups"
        )

    def restore(self, source: Path) -> Path | None:
        raise StorageError(
            f"a queue on a server is not restored by liteq: {source} was not read; use pg_restore with all workers "
            "stopped, or the server's own point-in-time recovery, and then `liteq epoch`"
        )
