"""The upkeep of a store: the chores that a file asks of its processes beside the queue's own work.

A server folds its log, syncs it and copies itself without liteq. So every method here has a default, which does
nothing or says that the engine has no such thing; an engine overrides those that apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any, Protocol

from liteq.clock import Clock
from liteq.exceptions import StorageError
from liteq.utils.records import NamedTuple

__all__ = ["DISK_FULL", "Check", "Misfit", "Remedy", "Replicator", "Upkeep"]

DISK_FULL = (  # of a store that is `in_reserve`
    "the disk is full, and the space in reserve is in use: workers claim nothing, sends are refused; free some space"
)


class Check(NamedTuple):
    """One finding of `liteq doctor`: `status` is ok, warning or error."""

    name: str
    status: str
    detail: str


class Remedy(NamedTuple):
    """A thing that can be set right without a loss: `says` what would be done, `do` does it and says what it did.

    `do` raises StorageError, and OSError.
    """

    name: str
    says: str
    do: Callable[[], str]


class Replicator(Protocol):
    """A connection to a tool that copies the store elsewhere."""

    def wait(self, within_s: float) -> None:
        """Return when all that is committed by now is copied. Raises NotReplicated after `within_s` seconds."""

    def close(self) -> None: ...


class Misfit(NamedTuple):
    """A row that has become a dead letter, with the error that says why; `id` and `group_id` as they are now."""

    id: str
    group_id: str | None
    error: bytes


class Upkeep:
    """The defaults, for an engine that needs no upkeep."""

    unsynced_since: float = inf
    """Since when (monotonic) a commit of this process waits for a sync that is owed; infinity when none does."""

    owes: bool = False
    """Whether one of those commits has what a caller was promised; a heartbeat, for one, promises nothing."""

    def clock_over(self, machine: Clock) -> Clock:
        """The clock of the times in the store, made of this machine's; `machine` itself where all are on one."""
        return machine

    def age_s(self) -> float | None:
        """How many seconds ago what is shown was the newest, of a copy or a replica; None of the queue itself."""
        return None

    def is_uncommitted(self) -> bool:
        """Whether this thread has written in a transaction of its program's that goes on: others see nothing of it."""
        return False

    def fold_log(self) -> None:
        """Fold the write-ahead log into the file. Cheap when there is little to do."""

    def sync(self) -> None:
        """Put every commit so far on the disk, of any process. Never raises: it can be repeated."""

    def reserve(self) -> bool:
        """Hold some space in reserve (again); False while there is too little. A worker claims only then."""
        return True

    def relieve(self) -> bool:
        """After StorageFull: give up that space, so that running tasks can be acknowledged; False: none was left."""
        return False

    def waited(self) -> list[float]:
        """How long this process waited for the write lock since the last call, each time that it was not free."""
        return []

    def in_reserve(self) -> bool:
        """Whether the space held in reserve is in use: nothing new is accepted, and no worker claims."""
        return False

    def warnings(self) -> list[str]:
        """Sentences for an operator about trouble that needs a look now; cheap enough to be asked each second."""
        return []

    def sizes(self) -> dict[str, int]:
        """How much room the store takes, in bytes, by name: "file_bytes", "wal_bytes"; {} where it is not told."""
        return {}

    def bury_misfits(self, tx: Any, *, now_ms: int) -> list[Misfit]:  # noqa: ARG002 - an engine's
        """Make dead letters of unfinished rows that no verb can take, as another program may have written them.

        `tx` is the open write transaction. An engine whose columns hold nothing but their type has no such rows.
        """
        return []

    def free_bytes(self) -> int:
        """The size of the store's unused parts that `vacuum` can give back to the disk."""
        return 0

    def vacuum(self) -> int:
        """Give a little of it back, in a transaction that holds up others no longer than an enqueue; what is left.

        The disk has it once the log is folded.
        """
        return 0

    def remedies(self, facts: dict[str, Any]) -> list[Remedy]:  # noqa: ARG002 - an engine's
        """The things that `liteq doctor --fix` offers to set right, by the `facts` that `describe` has gathered."""
        return []

    def shut(self, tx: Any, tables: Sequence[str]) -> None:  # noqa: ARG002 - an engine's
        """Have the store refuse each change of a row of `tables`, by any process, until `reopen`.

        `tx` is the open write transaction, with whose commit that begins; it waits for those that have changed one.
        A transaction that sets `shut` in liteq_meta to 0, and back to 1 at its end, may change them. Twice is as once.
        """
        raise StorageError("this engine cannot shut its store: nothing was changed")

    def reopen(self, tx: Any, tables: Sequence[str]) -> None:
        """Undo `shut`, likewise."""

    def number_on(self, tx: Any, table: str, column: str) -> None:
        """Have the numbers that the store gives in `column` go on above those that are there.

        For rows that came with a number. Nothing to do where the next number is always one above the highest.
        """

    def begin_epoch(self, tx: Any) -> int:  # noqa: ARG002 - an engine's
        """Begin a new life of a store that has gone back in time; the number of its epoch.

        In the open write transaction: what is leased is nobody's, workers enter their names anew, and fencing tokens
        lie above all that the life before can have given out.
        """
        raise StorageError("this engine has no epochs: nothing was changed")

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target`, which must not exist, while others go on working."""
        raise StorageError(f"this engine makes no copies: nothing was written to {target}; use the server's own tools")

    def restore(self, source: Path) -> Path | None:
        """Put a copy of `source` in the place of the queue, which nobody may have open; where the old one is now.

        Leases of before are void. Raises StorageInUse where a process has it open, another StorageError where `source`
        is no queue. Then nothing is changed.
        """
        raise StorageError(f"this engine takes no copies: {source} was not restored; use the server's own tools")

    def users(self) -> list[str]:
        """The processes that have the store open, as "PID 123 (name)"; [] where they are not known."""
        return []

    def replicator(self, control: str | None) -> Replicator:  # noqa: ARG002 - an engine's
        """A connection to the tool that copies the store elsewhere, by its control socket `control`; to be closed.

        Raises ImproperlyConfigured where a socket is needed and None is given, StorageUnavailable where no tool answers
        there, or it does not copy this store.
        """
        raise StorageError(
            "replicated=True is for a queue in a file, which Litestream copies; nothing was sent. On a server its own "
            "settings say what a commit waits for (PostgreSQL: synchronous_standby_names)"
        )

    def describe(self, *, whole: bool = True) -> dict[str, Any]:  # noqa: ARG002 - an engine's
        """The facts that `liteq doctor --json` shows: the library, the place, the schema, the state of the store.

        Without `whole` nothing is looked at that takes longer for a larger store.
        """
        return {}

    def checks(self, facts: dict[str, Any]) -> list[Check]:  # noqa: ARG002 - an engine's
        """The findings that `liteq doctor` prints of `facts`, which `describe` has gathered."""
        return []
