"""THE interface between the queue's verbs and a storage engine.

A verb is a function over a `Transaction`; an engine is a `Driver`. A second engine implements this file, brings its
own migrations, and runs `tests/conformance` with its URL. The SQL of the verbs stays in the subset that SQLite (3.35
and up) and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Bell", "Driver", "Durability", "Listener", "Params", "Promise", "Row", "Transaction"]

Row = tuple[Any, ...]
Params = Mapping[str, object] | Sequence[object]


class Durability(Enum):
    """What survives a power cut. Whatever the level, nothing is torn and a killed process loses nothing."""

    DURABLE = "durable"  # accepted work is on the disk when the call returns; an ack may be lost, then a task re-runs
    STRICT = "strict"  # every commit is on the disk when it returns
    RELAXED = "relaxed"  # the newest moments may be lost, always as a suffix of the commit order


class Promise(Enum):
    """What a write transaction promises once it has committed; the durability level says what that costs."""

    ACCEPTED = "accepted"  # a caller was told that it is there: enqueue, replay, checkpoint
    REMOVED = "removed"  # a caller was told that it is gone: as ACCEPTED, but allowed while the disk is full
    PROGRESS = "progress"  # it may be repeated: claim, heartbeat, acknowledgement

    __hash__ = object.__hash__  # looked up in each transaction, and Enum's own is a Python function


class Bell(Enum):
    """What a wake-up is about. A lost ring may only ever cost latency."""

    WORK = "work"  # something may be claimable, or a worker is asked for something
    DONE = "done"  # something has finished

    __hash__ = object.__hash__  # as Promise's


class Transaction(Protocol):
    """One open transaction. Neither kind of call leaves a cursor open."""

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        """Run one statement; all its rows, [] where it returns none. `:name` or `?` parameters."""

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        """Run one statement once per element of `rows`; the number of database rows it changed in all."""


class Listener(Protocol):
    """Somebody waits for a bell. One per waiting process or thread; not to be shared."""

    def fileno(self) -> int:
        """A file descriptor that is readable after a ring, for a selector; -1 where the platform has none."""

    def clear(self) -> bool:
        """Forget the rings heard so far; True when there was one."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a ring, or `timeout_s` seconds; True when rung, and clears."""

    def close(self) -> None: ...


class Driver(Protocol):
    """A storage engine under one URL. Safe to use from any thread; across a fork it opens anew by itself."""

    url: str

    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        """One write transaction: commits at the end of the block, rolls back on an exception.

        Rings `bell` once it has committed; what the promise asks of the disk is waited for after that, without the
        write lock. Where the disk refuses, that raises, and what was committed may or may not survive a power cut.
        Never nested in one thread. Raises StorageBusy when the write lock was not free within `busy_timeout`, and
        StorageFull for what a caller wants accepted while the space held in reserve is in use.
        """

    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        """One statement as a write transaction of its own; the number of rows it changed. Else as `write`."""

    def read(self) -> AbstractContextManager[Transaction]:
        """One consistent snapshot; for SELECT only."""

    def ring(self, bell: Bell) -> None:
        """Wake every listener of `bell`, in any process. Called after a commit; never raises."""

    def listen(self, bell: Bell) -> Listener:
        """Start to listen; whatever is rung from now on is heard."""

    def version(self) -> int:
        """A number that changes with each commit of another connection; cheap enough for a safety net's poll."""

    def migrate(self) -> int:
        """Bring the schema to this code's version, creating the file if need be; the version. Idempotent.

        Raises SchemaTooNew, without a write, on a file of a newer liteq that this one may not write.
        """

    def check_schema(self) -> None:
        """Raises SchemaTooNew where a newer liteq has migrated the file since; a read."""

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, where the engine has one. Cheap when there is little to do."""

    @property
    def unsynced_since(self) -> float:
        """Since when (monotonic) a commit of this process waits for a sync that is owed; infinity when none does."""

    def sync(self) -> None:
        """Put on the disk whatever has been committed so far, by any process. Never raises: it can be repeated."""

    def reserve(self) -> bool:
        """Hold some space in reserve (again); False while there is too little. A worker claims only then."""

    def relieve(self) -> bool:
        """After StorageFull: give up that space, so that what runs can be acknowledged; False: none was left."""

    def warnings(self) -> list[str]:
        """What an operator should look into now, as sentences; cheap enough to be asked each second."""

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, which must not exist, while others go on working."""

    def restore(self, source: Path) -> Path | None:
        """Put a copy of `source` in the place of the queue, which nobody may have open; where the old one is now.

        Leases of before are void. Raises StorageInUse where somebody has it, another StorageError where `source` is no
        queue. Then nothing is changed.
        """

    def describe(self) -> dict[str, Any]:
        """What `liteq doctor` shows: library, version, source id, path, pragmas, known bugs, integrity."""

    def close(self) -> None:
        """Close what this process has open. The driver opens again on its next use."""
