"""THE interface between the queue's verbs and a storage engine.

A verb is a function over a `Transaction`; an engine is a `Driver`. A second engine implements `Driver`, overrides the
methods of `Upkeep` that apply to it (upkeep.py), brings its own migrations, registers its URL scheme (engines.py), and
runs `tests/conformance` with its URL. The SQL of the verbs stays in the subset that SQLite (3.35 and up) and PostgreSQL
share: `tests/integration/test_portable_sql.py` prepares every statement on PostgreSQL.

SQLite has one writer at a time, so there a verb never meets another one halfway. For engines with many writers a
statement carries the lock that it relies on as a hint, `SKIP_LOCKED` or `LOCK`. SQLite reads a comment; another
engine's driver puts its own clause in the place when it translates the placeholders. Further hints save messages to a
server: `AT_ONCE`, `LATER` and `WITH_TOKENS` say what a verb does not depend on, and promise nothing.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Final, Protocol

from liteq.storage.upkeep import Upkeep
from liteq.utils.records import NamedTuple, dataclass

__all__ = [
    "AT_ONCE",
    "LATER",
    "LOCK",
    "SKIP_LOCKED",
    "WITH_TOKENS",
    "Bell",
    "Driver",
    "Durability",
    "Engine",
    "Listener",
    "Options",
    "Params",
    "Place",
    "Promise",
    "Row",
    "Transaction",
    "Watch",
]

Row = tuple[Any, ...]
Params = Mapping[str, object] | Sequence[object]

# Hints at the end of a SELECT, for engines with several writers.
SKIP_LOCKED: Final = "/*+ skip locked */"  # lock these rows, without those that another transaction is changing
LOCK: Final = "/*+ lock */"  # lock these rows, waiting for the transaction that has one of them
# Hints that save a server's engine messages.
AT_ONCE: Final = "/*+ at once */"  # the rows of one executemany are about different rows of the table: one statement
LATER: Final = "/*+ later */"  # nobody looks at how many rows it changes: it may be sent with the next statement
WITH_TOKENS: Final = "/*+ tokens */"  # most probably tokens are taken next: they may be brought along
# Another word of SQLite's: whether a name fits a pattern with * and ?. Others bring an operator of their own for it.
GLOB: Final = "GLOB"


class Durability(Enum):
    """The work that survives a power cut. At no level is anything torn, and a killed process loses nothing."""

    DURABLE = "durable"  #: accepted work is on the disk when the call returns; an ack may be lost, then a task re-runs
    STRICT = "strict"  #: every commit is on the disk when it returns
    RELAXED = "relaxed"  #: the newest moments may be lost, always as a suffix of the commit order


class Promise(Enum):
    """The promise of a write transaction that has committed; the durability level says at which price."""

    ACCEPTED = "accepted"  #: a caller was told that it is there: enqueue, requeue, a schedule
    REMOVED = "removed"  #: a caller was told that it is gone: as ACCEPTED, but allowed while the disk is full
    RECORDED = "recorded"  #: what has run is not to run again, as a step of a run: as ACCEPTED, but allowed as REMOVED
    PROGRESS = "progress"  #: it may be repeated: claim, heartbeat, acknowledgement

    __hash__ = object.__hash__  # looked up in each transaction, and Enum's own is a Python function


class Bell(Enum):
    """The subject of a wake-up. A lost ring may only ever cost latency."""

    WORK = "work"  #: something may be claimable, or a worker is asked for something
    DONE = "done"  #: something has finished

    __hash__ = object.__hash__  # as Promise's


class Transaction(Protocol):
    """One open transaction. Neither kind of call leaves a cursor open."""

    def execute(self, sql: str, params: Params = ()) -> list[Row]:
        """Run one statement; all its rows, [] where it returns none. `:name` or `?` parameters."""

    def executemany(self, sql: str, rows: Iterable[Params]) -> int:
        """Run one statement once per element of `rows`; the number of database rows it changed in all."""

    def tokens(self, n: int, above: int = 0) -> int:
        """Take `n` fencing tokens: the numbers after the one returned. None was, or will be, given out elsewhere.

        They are higher than all that were given out before, and in any case than `above`.
        """

    def uptime(self) -> tuple[str, int]:
        """The clock that never jumps: the boot that it counts from ("" where that is not known), and milliseconds."""

    def in_turn(self, name: str) -> None:
        """Make the numbers that this transaction takes in `name` from now on visible in their order.

        So a reader that follows them by "greater than the last one seen" misses none. It waits until every other
        transaction that has named it has ended: `name` may be anything that is looked at by one at a time and has no
        row to lock. Nothing to do for one writer.
        """


class Listener(Protocol):
    """An ear for one bell. One per waiting process or thread; not to be shared."""

    def fileno(self) -> int:
        """A file descriptor that is readable after a ring, for a selector; -1 where the platform has none."""

    def clear(self) -> bool:
        """Forget the rings heard so far; True when there was one."""

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a ring, or `timeout_s` seconds; True when rung, and clears."""

    def close(self) -> None: ...


class Driver(Upkeep, ABC):
    """A storage engine under one URL. Safe to use from any thread; across a fork it opens anew by itself.

    These methods are the queue's, and every engine has them. Those of `Upkeep` do nothing unless an engine needs them.
    """

    url: str
    read_only: bool = False
    """Whether the store is only looked at: `write` and `change` raise ReadOnly."""
    one_machine: bool = True
    """Whether all processes of the queue are on one machine, as those of a file are."""
    one_writer: bool = True
    """Whether a transaction that may write keeps the others out: then a look first is worth it."""
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds by the clock of `Transaction.uptime`; the storage puts its own here."""

    @abstractmethod
    def write(
        self, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None
    ) -> AbstractContextManager[Transaction]:
        """One write transaction: commits at the end of the block, rolls back on an exception.

        Rings `bell` once it has committed; the wait for the disk that the promise asks for comes after that, without
        the write lock. A disk that refuses raises then, and the commit may or may not survive a power cut.
        Never nested in one thread. Raises StorageBusy when the write lock was not free within `busy_timeout`, and
        StorageFull for work to be accepted while the space held in reserve is in use.
        With several writers, a row that a unique index refuses although the verb has found its place free came
        meanwhile: that is a conflict as a deadlock is, and the verb is to be run again.
        """

    @abstractmethod
    def change(self, sql: str, params: Params, promise: Promise = Promise.ACCEPTED, bell: Bell | None = None) -> int:
        """One statement as a write transaction of its own; the number of rows it changed. Else as `write`."""

    @abstractmethod
    def read(self, *, alone: bool = False, within_s: float | None = None) -> AbstractContextManager[Transaction]:
        """One consistent snapshot; for SELECT only. `alone`: for one of them, which is a snapshot by itself.

        `within_s`: a statement that is still busy after so many seconds from the start is stopped, with ReadTimeout.
        """

    @abstractmethod
    def ring(self, bell: Bell) -> None:
        """Wake every listener of `bell`, in any process. Called after a commit; never raises."""

    @abstractmethod
    def listen(self, bell: Bell) -> Listener:
        """Start to listen; every ring from now on is heard."""

    @abstractmethod
    def version(self) -> int:
        """A number that changes with each commit of another connection; cheap enough for a safety net's poll."""

    @abstractmethod
    def migrate(self) -> int:
        """Bring the schema to this code's version, creating the store if need be; the version. Idempotent.

        Raises SchemaTooNew, without a write, on a store of a newer liteq that this one may not write.
        """

    @abstractmethod
    def check_schema(self) -> None:
        """Raises SchemaTooNew where a newer liteq has migrated the store since; a read."""

    @abstractmethod
    def where(self) -> str:
        """The place of the queue, for people and for JSON: a file's absolute path; never a password."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections of this process. The driver opens again on its next use."""


class Watch(Protocol):
    """Hears the bells of many files, by one descriptor."""

    def fileno(self) -> int:
        """A descriptor that is readable when `read` has something to tell; -1: ask it again and again."""

    def watch(self, folders: Iterable[str], paths: Iterable[str]) -> None:
        """Watch these folders from now on, in place of those of before. `paths`: the files in them."""

    def read(self) -> tuple[set[str] | None, bool]:
        """The files whose bell of work has rung, None: any may have; and whether a file has come or gone."""

    def close(self) -> None:
        """Close the watch."""


class Place(NamedTuple):
    """Where a broker URL leads, told without opening anything.

    `kind`: the word for it in front of a person ("file"). `where`: as `Driver.where()`. `through`: the library.
    `missing`: a sentence on how it comes to be, where there is nothing yet; "" where something is there, or where
    only opening it tells. `read_only`: the URL opens it to be looked at alone.
    """

    kind: str
    where: str
    through: str
    missing: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a queue as an engine takes them; one that has no use for an option leaves it.

    `library`: which client library is to be used, where the engine has a choice and the URL says nothing. `file_mode`:
    the permissions of a file that the engine makes.
    """

    durability: Durability = Durability.DURABLE
    busy_timeout_s: float = 30.0
    library: str | None = None
    allow_network_filesystem: bool = False
    file_mode: int = 0o600


class Engine(Protocol):
    """An entry in the table of engines (engines.py). Both methods raise ImproperlyConfigured for a bad URL."""

    def open(self, url: str, options: Options) -> Driver:
        """A driver for `url`; touches nothing before its first use."""

    def describe_url(self, url: str, library: str | None = None) -> Place:
        """Where `url` leads; looks, but opens nothing."""
