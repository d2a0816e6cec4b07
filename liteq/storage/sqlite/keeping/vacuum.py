"""Free pages go back to the disk, a few in a transaction: nobody waits for longer than for an enqueue or two.

SQLite moves the last pages of the file into free ones, and cuts the end off. That takes longer for a page that must be
moved than for one that only falls away, so the number of pages follows the time that the last slice took.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from liteq.storage.driver import Transaction

__all__ = ["Vacuum", "free_bytes"]

INCREMENTAL: Final = 2  # PRAGMA auto_vacuum: fixed by the file's first page; another program's file may have none
SLICE_S: Final = 0.004  # that a slice should hold the write lock
FEWEST, MOST = 8, 2_048  # pages of a slice


def free_bytes(tx: Transaction) -> int:
    """The size of the free pages that can be given back; 0 where the file cannot shrink."""
    return _pragma(tx, "freelist_count") * _pragma(tx, "page_size") if _pragma(tx, "auto_vacuum") == INCREMENTAL else 0


class Vacuum:
    """The slices of one process on one file."""

    __slots__ = ("pages",)

    def __init__(self) -> None:
        self.pages = 32

    def slice(self, tx: Transaction) -> int:
        """Give some pages back, in a write transaction; the size of the free ones that are left."""
        if not free_bytes(tx):
            return 0
        began = monotonic()
        tx.execute(f"PRAGMA incremental_vacuum({self.pages})")
        self.learn(monotonic() - began)
        return free_bytes(tx)

    def learn(self, seconds: float) -> None:
        """Choose the size of the next slice by the time that one took."""
        fitting = self.pages * SLICE_S / max(seconds, 1e-6)
        self.pages = int(min(max(fitting, FEWEST), MOST, 2 * self.pages))


def _pragma(tx: Transaction, name: str) -> int:
    rows = tx.execute(f"PRAGMA {name}")
    return int(rows[0][0])
