"""Every error liteq raises on purpose.

    LiteqError
    ├── StorageError                   the file or its engine; also called OperationalError
    │   ├── StorageBusy                the write lock was not to be had in time; names the holder
    │   ├── StorageFull                the disk, or the file's page limit, is full
    │   ├── ReadTimeout                a read for a person or a monitor took longer than it may
    │   ├── StorageInUse               it is to be replaced, and is open in another process
    │   ├── StorageCorrupt             not a database, or a damaged one
    │   ├── StorageUnavailable         cannot be opened: path, permission, file system
    │   └── SchemaTooNew               written by a newer liteq
    ├── LeaseLost                      a write with a fencing token that is no longer current
    ├── MessageNotFound                (also a LookupError) an operator asks something of what is not there
    ├── NotEligible                    ... or of what is not in the state for it; names the state
    ├── BadMessage                     refused at enqueue
    │   ├── CanvasConflict             (also a ValueError)
    │   ├── PayloadTooLarge
    │   └── NotSerializable            (also a TypeError; kombu's EncodeError)
    ├── ImproperlyConfigured           a setting, a URL, an app
    ├── TaskError
    │   ├── NotRegistered              (also a KeyError)
    │   ├── AlreadyRegistered
    │   ├── TimeoutError               (also the built-in one)
    │   ├── MaxRetriesExceededError
    │   ├── TaskRevokedError
    │   │   └── RunCancelled           by `result()` of a run that was cancelled
    │   ├── ChordError
    │   ├── WorkerLostError
    │   ├── TimeLimitExceeded
    │   ├── QueueNotFound              (also a KeyError)
    │   ├── InvalidTaskError
    │   ├── IncompleteStream
    │   └── RemoteError                an exception of a class this process may not rebuild
    ├── WorkflowError                  a misuse of a workflow, or one of:
    │   ├── RunConflict, RunNotFound (also a LookupError), RunEnded, NonDeterminism
    │   └── StepTimeout, EventTimeout, ApprovalTimeout, AlreadyDecided, NoSuchApproval
    ├── SecurityError                  a message that must not be read
    ├── BackendError
    │   ├── BackendGetMetaError
    │   └── BackendStoreError
    ├── CeleryCommandException         ends a command line with `exit_code`
    └── TaskPredicate                  not failures: what a running task asks of its worker
        ├── Retry
        ├── RateLimited
        ├── Ignore
        ├── Reject
        └── Replaced
    WorkflowCancelled                  a BaseException: raised in the body of a run that was cancelled
    DeterminismWarning                 a UserWarning
    SoftTimeLimitExceeded              an Exception of its own, raised inside the task
    Terminated                         as above: its process was told to end
    WorkerShutdown, WorkerTerminate    SystemExit: the worker is to end
    CeleryWarning                      a UserWarning
    ├── AlwaysEagerIgnored, DuplicateNodenameWarning, DuplicateTaskNameWarning, FixupWarning, NotConfigured
    └── SecurityWarning
    CDeprecationWarning, CPendingDeprecationWarning

The names that Celery has too mean what they mean there.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, NoReturn

__all__ = [
    "AlreadyDecided",
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "ApprovalTimeout",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "BadMessage",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CanvasConflict",
    "CeleryCommandException",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "DeterminismWarning",
    "DuplicateNodenameWarning",
    "DuplicateTaskNameWarning",
    "EncodeError",
    "EventTimeout",
    "FixupWarning",
    "Ignore",
    "ImproperlyConfigured",
    "IncompleteStream",
    "InvalidTaskError",
    "LeaseLost",
    "LiteqError",
    "MaxRetriesExceededError",
    "MessageNotFound",
    "NoSuchApproval",
    "NonDeterminism",
    "NotConfigured",
    "NotEligible",
    "NotRegistered",
    "NotSerializable",
    "OperationalError",
    "PayloadTooLarge",
    "QueueNotFound",
    "RateLimited",
    "ReadTimeout",
    "Reject",
    "RemoteError",
    "Replaced",
    "Retry",
    "RunCancelled",
    "RunConflict",
    "RunEnded",
    "RunNotFound",
    "SchemaTooNew",
    "SecurityError",
    "SecurityWarning",
    "SoftTimeLimitExceeded",
    "StepTimeout",
    "StorageBusy",
    "StorageCorrupt",
    "StorageError",
    "StorageFull",
    "StorageInUse",
    "StorageUnavailable",
    "TaskError",
    "TaskPredicate",
    "TaskRevokedError",
    "Terminated",
    "TimeLimitExceeded",
    "TimeoutError",
    "WorkerLostError",
    "WorkerShutdown",
    "WorkerTerminate",
    "WorkflowCancelled",
    "WorkflowError",
    "reraise",
]


def text_of(value: Any, render: Callable[[Any], str] = repr) -> str:
    """`value` as text by `render`, else by repr; where that fails too, a text that says so. Never raises.

    For exceptions and values of the user's: what cannot be printed must not hide the failure that is told of.
    """
    for attempt in (render, repr):
        try:
            return str.__str__(attempt(value))
        except Exception:  # noqa: BLE001, S112 - the next one, or the text below
            continue
    return f"<{type(value).__qualname__} that cannot be printed>"


def closest(name: str, known: Iterable[str]) -> str:
    """The names of `known` that look like `name`, for an error message; "none is" when there are none."""
    import difflib  # only for a mistyped name

    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return ", ".join(repr(n) for n in near) if near else "none is"


class LiteqError(Exception):
    """Base of every error that liteq raises on purpose."""


CeleryError = LiteqError


# -- storage ---------------------------------------------------------------------------------------------------------


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


class ReadTimeout(StorageError):
    """Raised when a read for a person or a monitor took longer than it may, and was stopped: ask for less."""


class StorageCorrupt(StorageError):
    """Raised when the file is not a SQLite database, or a damaged one: restore a backup (`liteq backup`)."""


class StorageUnavailable(StorageError):
    """Raised when the file cannot be opened: a directory, no permission, a read-only or network file system."""


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


# -- what a producer handed in ---------------------------------------------------------------------------------------


class BadMessage(LiteqError):
    """Raised when a message is refused at enqueue; nothing was written."""


class CanvasConflict(BadMessage, ValueError):
    """Raised when a part of a canvas has the id of what is in the queue already and is no part of the same canvas.

    Nothing of the canvas was sent. A canvas that is there whole is no conflict: it stands for the one that is sent.
    """


class PayloadTooLarge(BadMessage):
    """Raised when arguments or a result are larger than the limit, in bytes, once encoded."""

    def __init__(self, what: str, size: int, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} is {size:,} bytes encoded, the limit is {limit:,}: pass a reference (a path, a key) instead, "
            f"or raise `{setting}`"
        )
        self.size = size
        self.limit = limit


class NotSerializable(BadMessage, TypeError):
    """Raised when arguments or a result hold something that the serializer has no form for; says where."""


EncodeError = NotSerializable


class ImproperlyConfigured(LiteqError):
    """Raised when a setting, a broker URL or an app is wrong; the message says what to write instead."""


# -- tasks -----------------------------------------------------------------------------------------------------------


class TaskError(LiteqError):
    """Base of what can go wrong with a task."""


class NotRegistered(TaskError, KeyError):
    """Raised when a message names a task that no imported module declares."""

    def __init__(self, name: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.name = name
        self.known = list(known)

    def __str__(self) -> str:
        near = f" Nearest: {closest(self.name, self.known)}." if self.known else ""
        return f"task {self.name!r} is not registered: import its module in the app (`include=`).{near}"

    def __repr__(self) -> str:
        return f"NotRegistered({self.name!r})"


class AlreadyRegistered(TaskError):
    """Raised when two different functions claim one task name."""


class TimeoutError(TaskError, builtins.TimeoutError):  # noqa: A001 - Celery's name; also caught as the built-in one
    """Raised when a result did not arrive within the time given."""


class MaxRetriesExceededError(TaskError):
    """Raised inside a task when `retry()` is called once more than `max_retries` allows."""

    def __init__(self, *args: Any, task_args: Any = (), task_kwargs: Any = None) -> None:
        super().__init__(*args)
        self.task_args = task_args
        self.task_kwargs = task_kwargs if task_kwargs is not None else {}


class TaskRevokedError(TaskError):
    """Raised by `get()` when the task was revoked, or expired, before it ran."""


class ChordError(TaskError):
    """Raised as the failure of a chord's body when a member of its header failed."""


class WorkerLostError(TaskError):
    """Raised as a task's failure when the process that ran it died, too often to try again (`max_crashes`)."""

    @property
    def exitcode(self) -> int | None:
        return self.args[1] if len(self.args) > 1 else None


class TimeLimitExceeded(TaskError):
    """Raised as a task's failure when its hard time limit passed and its process was killed."""


class RemoteError(TaskError):
    """Raised by `get()` for an exception whose class this process does not rebuild from data.

    `type_name` is the class as the worker saw it, `args` hold its message.
    """

    type_name: str = ""

    def __init__(self, *args: Any, type_name: str = "") -> None:
        super().__init__(*args)
        self.type_name = type_name

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.type_name}: {text}" if self.type_name else text


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task when its soft time limit passes: clean up and return, or let it fail."""

    def __str__(self) -> str:
        return "SoftTimeLimitExceeded" + (str(self.args) if self.args else "()")


# -- what a running task asks of its worker --------------------------------------------------------------------------


class TaskPredicate(LiteqError):
    """Base of the exceptions by which a running task tells its worker something; none is a failure."""


class Retry(TaskPredicate):
    """Raised by `task.retry()`: run this message again at `when` (seconds from now, or a time)."""

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | None = None,
        when: float | datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        self.exc = exc
        self.excs = text_of(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        self.changes: dict[str, Any] = {}  # of the message's other columns
        super().__init__(message, exc, when, **kwargs)

    def humanize(self) -> str:
        """When, in words: "in 10s" or "at <time>"."""
        if isinstance(self.when, (int, float)):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"


class RateLimited(TaskPredicate):
    """Raised by a task that met a limit outside, such as an API's: it is held for `retry_after`, and tried again.

    `retry_after`: seconds, a time, or the text of the header Retry-After; None for 10 s. `key`: the limit that is
    paused for all workers, by default the first of the message's own keys; without one that message alone waits. No
    attempt is counted. Raises TypeError for a key that is no text.
    """

    def __init__(self, retry_after: float | str | datetime | None = None, key: str | None = None) -> None:
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the key of a limit is a string, not {key!r}")
        super().__init__(retry_after, key)
        self.retry_after = retry_after
        self.key = key

    def __str__(self) -> str:
        after = "" if self.retry_after is None else f"; retry after {self.retry_after}"
        return "a limit was met" + ("" if self.key is None else f" of {self.key!r}") + after


class Ignore(TaskPredicate):
    """Raised by a task to be acknowledged without its state being touched."""


class Reject(TaskPredicate):
    """Raised by a task to go back to its queue (`requeue=True`) or to the dead letters."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        super().__init__(reason, requeue)
        self.reason = reason
        self.requeue = requeue

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class Replaced(Ignore):
    """Raised by `task.replace()`: `batch` takes this message's place, and its id."""

    def __init__(self, batch: Any = None) -> None:
        super().__init__()
        self.batch = batch


# -- workflows -------------------------------------------------------------------------------------------------------


class WorkflowError(LiteqError):
    """Base of what can go wrong with a workflow: a misuse, or one of those below. No step is retried for it."""


class RunConflict(WorkflowError):
    """Raised by `start()` where its id is that of another workflow's run, or of one with other input."""


class RunNotFound(WorkflowError, LookupError):
    """Raised for an id under which no run is known: it was never started here, or is forgotten."""


class RunEnded(WorkflowError):
    """Raised where something is sent to, or asked of, a run that has ended."""


class NonDeterminism(WorkflowError):
    """Raised where a body asks for something other than its history holds at that place: its code was changed.

    `position` is the place, `recorded` and `found` say in words what stands there and what the body asked for.
    """

    def __init__(self, position: str = "", recorded: str = "", found: str = "") -> None:
        super().__init__(position, recorded, found)
        self.position = position
        self.recorded = recorded
        self.found = found

    def __str__(self) -> str:
        return (
            f"at {self.position} history holds {self.recorded}, and the code asks for {self.found}: put new code "
            "behind `if ctx.patched(...)`, give the workflow a new version=, or deploy the old code again"
        )


class StepTimeout(WorkflowError):
    """Raised inside a step whose attempt takes longer than its `timeout`; retried as its other errors."""


class EventTimeout(WorkflowError):
    """Raised by `wait_event` where the event did not come in time and no default is given."""


class ApprovalTimeout(WorkflowError):
    """Raised by `approval` where nobody decided in time and no default is given."""


class AlreadyDecided(WorkflowError):
    """Raised by `approve` where the approval was decided otherwise: `ok`, `by` and `at` (ISO) tell by whom and when."""

    def __init__(self, ok: bool = False, by: str = "", at: str = "") -> None:
        super().__init__(ok, by, at)
        self.ok = ok
        self.by = by
        self.at = at

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        return f"it was {'approved' if self.ok else 'refused'}{by} at {self.at} already: nothing was changed"


class NoSuchApproval(WorkflowError):
    """Raised by `approve` where the run has asked for no approval of that title."""


class RunCancelled(TaskRevokedError):
    """Raised by `result()` of a run that was cancelled or terminated; its text is the reason."""


class WorkflowCancelled(BaseException):
    """Raised in the body of a run that was cancelled: let it through. Sagas and shields run on the way."""


class DeterminismWarning(UserWarning):
    """A workflow's body calls something that a replay may answer otherwise."""


# -- Celery's other names --------------------------------------------------------------------------------------------

OperationalError = StorageError  # what `delay()` raises when the message could not be written


class QueueNotFound(TaskError, KeyError):
    """Raised when a task is routed to a queue that `task_queues` does not have."""


class InvalidTaskError(TaskError):
    """Raised when a message has no task, or arguments that are none."""


class IncompleteStream(TaskError):
    """Raised when a stream of results ends before its end."""


class SecurityError(LiteqError):
    """Raised when a message must not be read: its serializer is not accepted, its signature is wrong."""


class BackendError(LiteqError):
    """Base of what can go wrong with a result backend of one's own."""

    def __init__(self, *args: Any, task_id: str = "", state: str = "") -> None:
        super().__init__(*args)
        self.task_id = task_id
        self.state = state


class BackendGetMetaError(BackendError):
    """Raised when a result could not be read."""


class BackendStoreError(BackendError):
    """Raised when a result could not be written."""


class CeleryCommandException(LiteqError):
    """Raised to end a command with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class Terminated(Exception):
    """Raised in a process that was told to end while it ran a task."""


class WorkerShutdown(SystemExit):
    """Raised to have the worker finish what runs, and end."""

    stops_worker = True


class WorkerTerminate(SystemExit):
    """Raised to have the worker end at once."""

    stops_worker = True


class CeleryWarning(UserWarning):
    """Base of the warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """`task_always_eager` is set and does not apply to `send_task()` of a task that is not known here."""


class DuplicateNodenameWarning(CeleryWarning):
    """Several workers have one name: they cannot be told apart by remote control."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two tasks have one name."""


class FixupWarning(CeleryWarning):
    """An integration with a framework could not be set up."""


class NotConfigured(CeleryWarning):
    """There is no configuration."""


class SecurityWarning(CeleryWarning):
    """Something is less safe than it could be."""


class CDeprecationWarning(DeprecationWarning):
    """Something goes with the next version."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """Something goes with a later version."""


def reraise(_tp: type[BaseException], value: BaseException, tb: TracebackType | None = None) -> NoReturn:
    """Raise `value` with the traceback `tb`."""
    raise value.with_traceback(tb) if value.__traceback__ is not tb else value
