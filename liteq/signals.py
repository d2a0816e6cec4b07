"""The signals: functions of the user's that are called when something happens. Celery's names and semantics.

    @task_failure.connect
    def report(sender, task_id, exception, **kwargs): ...

A receiver is held weakly unless `weak=False`, takes `**kwargs` (a later version may send more), and can do no harm:
what it raises is logged, and the next one is called. Sending to nobody costs one look at `signal.receivers`.
"""

from __future__ import annotations

import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, overload

__all__ = [
    "Signal",
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "approval_requested",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "setup_logging",
    "step_in_doubt",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_success",
    "task_unknown",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
    "workflow_failed",
    "workflow_stuck",
]

logger = logging.getLogger("liteq.signals")

Receiver = Callable[..., Any]
F = TypeVar("F", bound=Receiver)

_TRIES_WITH_RETRY = 3


class Signal:
    """One thing that happens. `providing_args`: what `send` passes to receivers beside `signal` and `sender`.

    `receivers` is empty when nobody listens: ask it before making the arguments of `send`.
    """

    __slots__ = ("__weakref__", "_lock", "name", "providing_args", "receivers")

    def __init__(self, name: str, *providing_args: str) -> None:
        self.name = name
        self.providing_args = frozenset(providing_args)
        # Replaced as a whole, never changed: `send` reads it without the lock.
        self.receivers: tuple[_Connection, ...] = ()
        self._lock = threading.RLock()  # re-entrant: a receiver may be collected while the lock is held

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={sorted(self.providing_args)}>"

    @overload
    def connect(
        self, receiver: F, sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...
    ) -> F: ...
    @overload
    def connect(
        self, receiver: None = ..., sender: Any = ..., weak: bool = ..., dispatch_uid: Any = ..., retry: bool = ...
    ) -> Callable[[F], F]: ...
    def connect(
        self,
        receiver: Any = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> Any:
        """Have `receiver` called with each `send`, or only with those from `sender`. Also a decorator, with or without.

        Connecting the same receiver, or the same `dispatch_uid`, for the same sender once more does nothing.
        `weak=False` keeps a receiver alive that nothing else holds; `retry` calls one that raises up to three times.
        Raises ValueError for a receiver that does not take `**kwargs`.
        """
        if receiver is None:
            return lambda found: self.connect(found, sender, weak, dispatch_uid, retry)
        if not _takes_kwargs(receiver):
            raise ValueError(f"a receiver of {self.name} must take **kwargs: {receiver!r}")
        connection = _Connection(self, receiver, sender, weak and not retry, dispatch_uid, retry)
        with self._lock:
            if all(known.key != connection.key for known in self.receivers):
                self.receivers = (*self.receivers, connection)
        return receiver

    def disconnect(self, receiver: Any = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None) -> bool:  # noqa: ARG002 - Celery's signature
        """Undo `connect` with the same receiver (or `dispatch_uid`) and sender; True when there was such a one."""
        key = _key(receiver, sender, dispatch_uid)
        return self._drop(lambda known: known.key == key)

    def _drop(self, doomed: Callable[[_Connection], bool]) -> bool:
        with self._lock:
            kept = tuple(known for known in self.receivers if not doomed(known))
            dropped = len(kept) < len(self.receivers)
            self.receivers = kept
        return dropped

    def has_listeners(self, sender: Any = None) -> bool:
        """True when a `send` from `sender` would call somebody."""
        return any(known.hears(_identity(sender)) for known in self.receivers)

    def send(self, sender: Any = None, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers in the order in which they were connected; the pairs (receiver, what it returned).

        An exception is logged and stands in the pair in place of a return value.
        """
        if not self.receivers:
            return []
        source = _identity(sender)
        called = []
        for known in self.receivers:
            receiver = known.receiver()
            if receiver is not None and known.hears(source):
                called.append((receiver, self._call(known, receiver, sender, named)))
        return called

    send_robust = send

    def _call(self, known: _Connection, receiver: Receiver, sender: Any, named: dict[str, Any]) -> Any:
        for left in reversed(range(_TRIES_WITH_RETRY if known.retry else 1)):
            try:
                return receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("the receiver %r of the signal %s raised %s", receiver, self.name, type(exc).__name__)
                if not left:
                    return exc
        raise AssertionError("unreachable")


class _Connection:
    """One receiver of one signal."""

    __slots__ = ("key", "receiver", "retry", "source")

    def __init__(
        self, signal: Signal, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Any, retry: bool
    ) -> None:
        self.key = _key(receiver, sender, dispatch_uid)
        self.source = None if sender is None else _identity(sender)
        self.retry = retry
        self.receiver: Callable[[], Receiver | None] = _weak(signal, receiver, self) if weak else lambda: receiver

    def hears(self, source: Any) -> bool:
        return self.source is None or self.source == source


def _weak(signal: Signal, receiver: Receiver, connection: _Connection) -> Callable[[], Receiver | None]:
    """A weak reference to `receiver` that ends its connection when it is collected."""
    signal_ref, connection_ref = weakref.ref(signal), id(connection)

    def gone(_: object) -> None:
        if (alive := signal_ref()) is not None:
            alive._drop(lambda known: id(known) == connection_ref)

    if inspect.ismethod(receiver):
        return weakref.WeakMethod(receiver, gone)
    return weakref.ref(receiver, gone)


def _key(receiver: Any, sender: Any, dispatch_uid: Any) -> Any:
    return (_identity(receiver) if dispatch_uid is None else ("uid", dispatch_uid), _identity(sender))


def _identity(target: Any) -> Any:
    """The key of a sender or a receiver: text by value, all else by identity, seen through proxies."""
    if target is None or isinstance(target, (str, bytes)):
        return target
    if (unwrap := getattr(type(target), "_get_current_object", None)) is not None:
        target = unwrap(target)
    if inspect.ismethod(target):
        return (id(target.__self__), id(target.__func__))
    return id(target)


def _takes_kwargs(receiver: Receiver) -> bool:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (ValueError, TypeError):  # written in C without a signature
        return True
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


# -- sending a task --------------------------------------------------------------------------------------------------

before_task_publish = Signal(
    "before_task_publish", "body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy"
)
after_task_publish = Signal("after_task_publish", "body", "exchange", "routing_key", "headers")

# -- a task ----------------------------------------------------------------------------------------------------------

task_received = Signal("task_received", "request")
task_prerun = Signal("task_prerun", "task_id", "task", "args", "kwargs")
task_postrun = Signal("task_postrun", "task_id", "task", "args", "kwargs", "retval", "state")
task_success = Signal("task_success", "result", "runtime")
task_retry = Signal("task_retry", "request", "reason", "einfo")
task_failure = Signal("task_failure", "task_id", "exception", "args", "kwargs", "traceback", "einfo")
task_internal_error = Signal(
    "task_internal_error", "task_id", "args", "kwargs", "request", "exception", "traceback", "einfo"
)
task_revoked = Signal("task_revoked", "request", "terminated", "signum", "expired")
task_rejected = Signal("task_rejected", "message", "exc")
task_unknown = Signal("task_unknown", "message", "exc", "name", "id")

# -- a workflow's run ------------------------------------------------------------------------------------------------

workflow_stuck = Signal("workflow_stuck", "run_id", "name", "error")
workflow_failed = Signal("workflow_failed", "run_id", "name", "error")
budget_warning = Signal("budget_warning", "run_id", "name", "budget", "what", "spent", "most")
approval_requested = Signal("approval_requested", "run_id", "name", "title", "details", "schema", "due")
step_in_doubt = Signal("step_in_doubt", "run_id", "name", "step", "step_key", "attempt")

# -- a worker --------------------------------------------------------------------------------------------------------

celeryd_init = Signal("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = Signal("celeryd_after_setup", "instance", "conf")
user_preload_options = Signal("user_preload_options", "app", "options")  # when `worker` has options of the app's own
import_modules = Signal("import_modules")  # from an app, before a worker imports its tasks
worker_init = Signal("worker_init")
worker_before_create_process = Signal("worker_before_create_process")
worker_process_init = Signal("worker_process_init")
worker_process_shutdown = Signal("worker_process_shutdown", "pid", "exitcode")
worker_ready = Signal("worker_ready")
worker_shutting_down = Signal("worker_shutting_down", "sig", "how", "exitcode")
worker_shutdown = Signal("worker_shutdown")
heartbeat_sent = Signal("heartbeat_sent")

# -- logging ---------------------------------------------------------------------------------------------------------

setup_logging = Signal("setup_logging", "loglevel", "logfile", "format", "colorize")
after_setup_logger = Signal("after_setup_logger", "logger", "loglevel", "logfile", "format", "colorize")
after_setup_task_logger = Signal("after_setup_task_logger", "logger", "loglevel", "logfile", "format", "colorize")

# -- beat ------------------------------------------------------------------------------------------------------------

beat_init = Signal("beat_init")
beat_embedded_init = Signal("beat_embedded_init")

# -- for imports only: liteq has no eventlet pool and never sends these ----------------------------------------------

eventlet_pool_started = Signal("eventlet_pool_started")
eventlet_pool_preshutdown = Signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal("eventlet_pool_postshutdown")
eventlet_pool_apply = Signal("eventlet_pool_apply", "target", "args", "kwargs")
