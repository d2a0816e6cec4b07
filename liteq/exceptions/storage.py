"""Errors of the file and its engine, and of what an operator asks for."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from liteq.exceptions.base import LiteqError


class StorageError(LiteqError):
    """Raised when the storage engine failed in a way that has no class of its own below."""


class StorageBusy(StorageError):
    """Raised when the write lock was not to be had within `busy_timeout`; the message names the holder's PID."""

    def __init__(self, waited_s: float, holder: str = "unknown") -> None:
        super().__init__(
            f"the write lock was not free within {waited_s:.1f} s; holder: {holder}. "
            "Stop that process, or raise `busy_timeout`."
        )
        self.waited_s = waited_s
        self.holder = holder


class StorageInUse(StorageError):
    """Raised where the file must be nobody's for a moment, and is open in another process; the message names it."""

    def __init__(self, path: str, users: str) -> None:
        super().__init__(f"{path} is in use: {users}. Stop all workers, producers and beat first; nothing was changed.")
        self.users = users


class StorageFull(StorageError):
    """Raised when the disk or the file's page limit is full: free some space; nothing accepted is lost."""


class StorageConflict(StorageError):
    """Raised when transactions of several writers stood in each other's way (a deadlock); nothing was written.

    Only engines with several writers at a time know it. A call of the queue is run again by itself, a few times.
    """


class StorageDenied(StorageError):
    """Raised when the server refuses, as this role lacks a right: the message says who grants it."""


class ReadTimeout(StorageError):
    """Raised when a read for a person or a monitor took longer than it may, and was stopped: ask for less."""


class StorageCorrupt(StorageError):
    """Raised when the file is not a SQLite database, or a damaged one: restore a backup (`liteq backup`)."""


class StorageUnavailable(StorageError):
    """Raised when the store cannot be opened: a directory, no permission, a network file system, no server."""


class ReadOnly(StorageError):
    """Raised when something is to be written to a queue that the broker URL opens to look at alone (`?mode=ro`)."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is read-only here (?mode=ro in the broker URL): nothing was written. To send tasks, work or act, "
            "use the URL without mode=ro"
        )


class NotReplicated(StorageError):
    """Raised when a message is in the file, and it is not known within `replicated_timeout` whether its copy is.

    `ids`: the messages that were written. They are not taken back: workers run them. A call that is sent again with the
    same `task_id` and `idempotent=True` writes nothing more, and waits anew.
    """

    def __init__(self, path: str, waited_s: float, why: str, ids: Sequence[str] = ()) -> None:
        super().__init__(
            f"{path}: what was sent is in the file, and Litestream has not said within {waited_s:g} s that its copy is "
            f"at the remote ({why}). Send it again with its task_id and idempotent=True to wait anew"
        )
        self.path = path
        self.waited_s = waited_s
        self.why = why
        self.ids = list(ids)


class NotYetThere(StorageError, builtins.TimeoutError):
    """Raised when a replica has not come as far as a position within the time given: ask again, or the queue itself.

    `position`: as it was asked for. `behind_s`: how many seconds ago the replica was written last.
    """

    def __init__(self, position: str, behind_s: float) -> None:
        super().__init__(
            f"the replica is not yet as far as {position}: it was written {behind_s:.1f} s ago. Wait longer "
            "(`get(timeout=...)`), ask the queue itself, or see whether its follower still runs"
        )
        self.position = position
        self.behind_s = behind_s


class CodecError(StorageError):
    """Raised when a value cannot be written or read here for want of its payload codec, or of a key that this needs.

    `key_id`: of the key, where it is known. What stands in the file stays there.
    """

    def __init__(self, text: str, key_id: str = "") -> None:
        super().__init__(text)
        self.key_id = key_id


class SchemaTooNew(StorageError):
    """Raised when the file was written by a newer liteq; nothing was written. Upgrade liteq on this machine."""

    def __init__(self, path: str, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this liteq knows up to {known}: upgrade liteq here; "
            "nothing was written"
        )
        self.found = found
        self.known = known


class LeaseLost(LiteqError):
    """Raised when a message is no longer leased under this token: its result is thrown away."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"the lease of {message_id} is over: another worker may run it; this outcome was not stored")
        self.message_id = message_id


# -- what an operator asks for ---------------------------------------------------------------------------------------


class MessageNotFound(LiteqError, LookupError):
    """Raised for an id under which there is no message, or none that its reader may see."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"there is no message {message_id!r}: it never was in this queue, or its time is over")
        self.message_id = message_id


class NotEligible(LiteqError):
    """Raised when an action is asked of a message that is not in a state for it; nothing was changed.

    `state` is the state that it has. A web application answers 409.
    """

    def __init__(self, message_id: str, action: str, state: str, why: str) -> None:
        tail = "" if state in why else f" (it is {state})"
        super().__init__(f"{action} does nothing to {message_id}: {why}{tail}")
        self.message_id = message_id
        self.action = action
        self.state = state
        self.why = why


OperationalError = StorageError  # what `delay()` raises when the message could not be written
