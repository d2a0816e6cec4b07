"""Every error liteq raises on purpose.

    LiteqError
    ├── StorageError                   the file or its engine; also called OperationalError
    │   ├── StorageBusy                the write lock was not to be had in time; names the holder
    │   ├── StorageFull                the disk, or the file's page limit, is full
    │   ├── StorageConflict            writers in each other's way, on a server; it was tried again
    │   ├── StorageDenied              the role on the server lacks a right
    │   ├── ReadTimeout                a read for a person or a monitor took longer than it may
    │   ├── StorageInUse               it is to be replaced, and is open in another process
    │   ├── StorageCorrupt             not a database, or a damaged one
    │   ├── ReadOnly                   the URL says ?mode=ro
    │   ├── NotReplicated              written here, and not known to be at the remote (`replicated=True`)
    │   ├── NotYetThere                (also the built-in TimeoutError) a replica is behind the position asked for
    │   ├── StorageUnavailable         cannot be opened: path, permission, file system
    │   ├── CodecError                 a value needs a payload codec, or a key, that is not here
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
    │   ├── StepTimeout, EventTimeout, ApprovalTimeout, AlreadyDecided, NoSuchApproval
    │   └── BudgetExceeded, StepInDoubt, AgentStalled; NotRecorded, which is in liteq.testing
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
    TaskInterrupted                    a BaseException: raised by `save_cursor()` in a task whose worker stops
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

from liteq.exceptions.base import CeleryError, LiteqError
from liteq.exceptions.compat import (
    AlwaysEagerIgnored,
    BackendError,
    BackendGetMetaError,
    BackendStoreError,
    CDeprecationWarning,
    CeleryCommandException,
    CeleryWarning,
    CPendingDeprecationWarning,
    DuplicateNodenameWarning,
    DuplicateTaskNameWarning,
    FixupWarning,
    IncompleteStream,
    InvalidTaskError,
    NotConfigured,
    QueueNotFound,
    SecurityError,
    SecurityWarning,
    Terminated,
    WorkerShutdown,
    WorkerTerminate,
    reraise,
)
from liteq.exceptions.storage import (
    CodecError,
    LeaseLost,
    MessageNotFound,
    NotEligible,
    NotReplicated,
    NotYetThere,
    OperationalError,
    ReadOnly,
    ReadTimeout,
    SchemaTooNew,
    StorageBusy,
    StorageConflict,
    StorageCorrupt,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageInUse,
    StorageUnavailable,
)
from liteq.exceptions.tasks import (
    AlreadyRegistered,
    BadMessage,
    CanvasConflict,
    ChordError,
    EncodeError,
    Ignore,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    NotRegistered,
    NotSerializable,
    PayloadTooLarge,
    RateLimited,
    Reject,
    RemoteError,
    Replaced,
    Retry,
    SoftTimeLimitExceeded,
    TaskError,
    TaskInterrupted,
    TaskPredicate,
    TaskRevokedError,
    TimeLimitExceeded,
    TimeoutError,
    WorkerLostError,
)
from liteq.exceptions.texts import closest as closest
from liteq.exceptions.texts import text_of as text_of
from liteq.exceptions.workflows import (
    AgentStalled,
    AlreadyDecided,
    ApprovalTimeout,
    BudgetExceeded,
    DeterminismWarning,
    EventTimeout,
    NonDeterminism,
    NoSuchApproval,
    RunCancelled,
    RunConflict,
    RunEnded,
    RunNotFound,
    StepInDoubt,
    StepTimeout,
    WorkflowCancelled,
    WorkflowError,
)

__all__ = [
    "AgentStalled",
    "AlreadyDecided",
    "AlreadyRegistered",
    "AlwaysEagerIgnored",
    "ApprovalTimeout",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "BadMessage",
    "BudgetExceeded",
    "CDeprecationWarning",
    "CPendingDeprecationWarning",
    "CanvasConflict",
    "CeleryCommandException",
    "CeleryError",
    "CeleryWarning",
    "ChordError",
    "CodecError",
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
    "NotReplicated",
    "NotSerializable",
    "NotYetThere",
    "OperationalError",
    "PayloadTooLarge",
    "QueueNotFound",
    "RateLimited",
    "ReadOnly",
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
    "StepInDoubt",
    "StepTimeout",
    "StorageBusy",
    "StorageConflict",
    "StorageCorrupt",
    "StorageDenied",
    "StorageError",
    "StorageFull",
    "StorageInUse",
    "StorageUnavailable",
    "TaskError",
    "TaskInterrupted",
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

# An error's home is here, wherever its class is written: documents in the queue, pickles and logs name it so.
for _one in list(vars().values()):
    if isinstance(_one, type) and _one.__module__.startswith(f"{__name__}."):
        _one.__module__ = __name__
del _one
