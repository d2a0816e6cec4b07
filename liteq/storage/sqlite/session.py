"""One connection of one SQLite library, with its place at the write gate. Used by one thread at a time."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from time import monotonic
from types import NoneType
from typing import Any, Final

from liteq.exceptions import StorageError
from liteq.storage.driver import Params, Row
from liteq.storage.sqlite.copies import Hold, Stamp
from liteq.storage.sqlite.tokens import Tokens
from liteq.storage.sqlite.turns.gate import open_gate
from liteq.utils.boot import clocks

__all__ = ["APPLICATION_ID", "PAGE_SIZE", "WAL_LIMIT", "WATCHED", "Abandoned", "Session"]

APPLICATION_ID: Final = 0x4C697465  # "Lite"; `file` shows it

# A commit writes whole pages into the log: with half the usual size an enqueue takes two thirds of the time (ADR 0010).
PAGE_SIZE: Final = 2048
# The log is folded back when it is larger than this, and cut to it when it starts anew: so its size tells a full log
# from one that has been folded.
WAL_LIMIT: Final = 16 * 1024 * 1024
WATCHED: Final = 10_000  # steps of SQLite's machine between two looks at the clock: about a tenth of a millisecond

PRAGMAS: Final = (
    "trusted_schema=OFF",
    "foreign_keys=ON",
    "wal_autocheckpoint=0",  # only the guarded checkpoint (checkpoint.py): SQLite before 3.51.3 can corrupt the file
    f"journal_size_limit={WAL_LIMIT}",
    "mmap_size=0",
    "synchronous=NORMAL",  # no commit waits for the disk with the write lock in hand: see base.py
    # macOS's fsync leaves data in the drive's cache.
    *(("fullfsync=ON", "checkpoint_fullfsync=ON") if sys.platform == "darwin" else ()),
)


class Session(ABC):
    """The libraries differ in the abstract methods below; all of these raise StorageError's subclasses."""

    def __init__(self, path: str, *, reader: bool, busy_timeout_s: float) -> None:
        self.path = path
        self.reader = reader
        self.busy_timeout_s = busy_timeout_s
        self.pid = os.getpid()
        self.read_only = False  # SQLite is to open the file for reading alone
        self.hold: Hold | None = None  # of a copy (copies.py): SQLite takes no locks itself
        self.stamp: Stamp = ()  # likewise: of the content that it was opened with
        self.generation = -1  # of the driver's view of the file; set when it is opened
        self.work = 0  # statements and rows that the driver has not counted yet
        self.gate = open_gate(path)
        self.monotonic: Callable[[], float] = monotonic  # the driver's
        self._tokens = Tokens()

    def open(self) -> None:
        """Connect and set the pragmas."""
        self._tokens = Tokens()  # of this file: under its name there may have been another
        self.connect(int(self.busy_timeout_s * 1000))
        self.script(";".join(f"PRAGMA {pragma}" for pragma in PRAGMAS))
        if self.reader:
            self.script("PRAGMA query_only=ON")

    def ask_in_loop(self) -> None:
        """From now on a lock that is not free is told at once: `begin` is called in a loop (base.py).

        SQLite's busy handler sleeps up to 100 ms at a time, in no order, and holds signals back.
        """
        self.script("PRAGMA busy_timeout=0")

    def pragma(self, name: str) -> Any:
        """The value of `PRAGMA name`; None where it has none."""
        rows = self.execute(f"PRAGMA {name}")
        return rows[0][0] if rows else None

    @abstractmethod
    def connect(self, busy_timeout_ms: int) -> None: ...

    @abstractmethod
    def execute(self, sql: str, params: Params = ()) -> list[Row]: ...

    @abstractmethod
    def executemany(self, sql: str, rows: Iterable[Params]) -> int: ...

    def tokens(self, n: int, above: int = 0) -> int:
        """As `driver.Transaction.tokens`."""
        return self._tokens.take(self, n, above)

    def forget_tokens(self) -> None:
        """After a rollback: what the file was told of tokens is not in it."""
        self._tokens.forget()

    def uptime(self) -> tuple[str, int]:
        """As `driver.Transaction.uptime`."""
        return clocks(), int(self.monotonic() * 1000)

    def in_turn(self, name: str) -> None:  # noqa: B027 - a transaction's, and done
        """As `driver.Transaction.in_turn`: with one writer at a time, numbers become visible in their order."""

    def stop_at(self, moment: float | None) -> None:
        """Stop whatever statement is busy at `moment` (monotonic), with ReadTimeout; None: none any more."""
        self.watch(None if moment is None else lambda: monotonic() > moment)

    @abstractmethod
    def watch(self, is_over: Callable[[], bool] | None) -> None:
        """Ask `is_over` each `WATCHED` steps of a statement whether to stop it; None: ask nothing any more."""

    @abstractmethod
    def script(self, sql: str) -> None:
        """Run statements past the statement cache.

        Pragmas need that: `synchronous` takes effect when it is compiled, so one from the cache does nothing.
        """

    @abstractmethod
    def begin_immediate(self) -> bool:
        """Take the write lock; False when somebody else has it."""

    @abstractmethod
    def change(self, sql: str, params: Params) -> int | None:
        """Run one statement outside a transaction; the number of rows it changed. None: somebody has the write lock."""

    @abstractmethod
    def commit(self) -> None: ...

    @abstractmethod
    def rollback(self) -> None:
        """Roll back; nothing when SQLite has done so itself (a full disk, an I/O error)."""

    @abstractmethod
    def complete(self, sql: str) -> bool:
        """Whether `sql` ends at the end of a statement."""

    @abstractmethod
    def copy_to(self, target: str) -> None:
        """Write a consistent copy into the empty file `target`, and check it."""

    @abstractmethod
    def disconnect(self) -> None:
        """Close the connection, which rolls back what is open. The library's errors are dropped."""

    @abstractmethod
    def abandon_connection(self) -> object:
        """Put an `Abandoned` in the connection's place, and return the connection."""

    def close(self) -> None:
        """Close the connection, which rolls back what is open, and leave the gate. Never raises."""
        try:
            self.disconnect()
        except (StorageError, AttributeError):  # it was abandoned, or never opened
            pass
        finally:
            self.gate.leave()
            if self.hold is not None:
                self.hold.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's connection without closing it."""
        self.gate.close()
        if not isinstance(getattr(self, "connection", None), (Abandoned, NoneType)):
            ABANDONED.append(self.abandon_connection())


ABANDONED: list[object] = []  # kept for ever: collecting one would close it


class Abandoned:
    """Stands where a connection was when its process was forked inside a transaction."""

    def __getattr__(self, name: str) -> Any:
        raise StorageError("this process was forked inside a transaction of its parent: it cannot go on with it")
