"""What surrounds the code that runs now: the current app, the running task, its request.

The running task lives in a context variable, so `self.request` is right in threads, in coroutines and in whatever
`asyncio.to_thread` runs. The current app is per thread, with one default for the process, as in Celery.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from liteq.clock import Clock, from_ms
from liteq.exceptions import ImproperlyConfigured
from liteq.message import Lease
from liteq.utils import log
from liteq.utils.proxy import Proxy

if TYPE_CHECKING:
    from liteq.storage.storage import Storage

__all__ = [
    "App",
    "Frame",
    "Request",
    "active_apps",
    "allow_join_result",
    "announce_app",
    "announce_finalized",
    "assert_will_not_block",
    "connect_on_app_finalize",
    "current_app",
    "current_frame",
    "current_request",
    "current_sender",
    "current_task",
    "denied_join_result",
    "enter",
    "get_current_app",
    "get_current_task",
    "leave",
    "request_of",
    "set_current_app",
    "set_default_app",
    "set_fallback_app",
]


class App(Protocol):
    """The part of an app that tasks, results and the executing side use. `liteq.app.LiteQ` is one."""

    main: str | None

    @property
    def conf(self) -> Any: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def storage(self) -> Storage: ...
    @property
    def tasks(self) -> Any: ...


# -- the running task's request --------------------------------------------------------------------------------------


class Request:
    """What a running task knows of its own execution: `self.request`. The attributes are those of Celery's Context.

    Made once for every execution, so whatever costs a decode is computed when it is first read. Attributes may be
    added and overwritten freely.
    """

    id: str | None = None
    task: str | None = None
    args: Any = None
    kwargs: Any = None
    retries: int = 0
    hostname: str | None = None
    is_eager: bool = False
    called_directly: bool = True
    token: int | None = None
    """The fencing token of the lease under which this runs; None where there is none."""
    seq: int | None = None
    crashes: int = 0
    """How often a process died while it ran this message."""
    max_retries: int | None = None
    chain: Any = None
    callbacks: Any = None
    errbacks: Any = None
    utc: bool = True
    loglevel: Any = None
    logfile: Any = None
    lang: str = "py"
    properties: Any = None
    replaced_task_nesting: int = 0
    pending_retry: Any = None
    """What `retry(throw=False)` left behind; honoured when the task returns."""

    entered: bool = False
    """Whether a task class with a `__call__` of its own has called the base's."""

    _lease: Lease | None = None

    def __init__(self, *args: Any, **fields: Any) -> None:
        self.__dict__.update(*args, **fields)

    @classmethod
    def from_lease(cls, lease: Lease, args: Any, kwargs: Any, hostname: str | None = None) -> Request:
        """The request of one execution of a leased message; `args` and `kwargs` as the task gets them."""
        request = cls.__new__(cls)
        fields = request.__dict__
        fields["_lease"] = lease
        fields["id"] = lease.id
        fields["task"] = lease.task
        fields["args"] = args
        fields["kwargs"] = kwargs
        fields["hostname"] = hostname
        fields["called_directly"] = False
        fields["token"] = lease.token
        fields["seq"] = lease.seq
        if lease.retries:
            fields["retries"] = lease.retries
        return request

    def update(self, *args: Any, **fields: Any) -> None:
        """Overwrite attributes, as a dict's `update`."""
        self.__dict__.update(*args, **fields)

    def clear(self) -> None:
        """Forget everything that was set."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute `key`, `default` where there is none."""
        return getattr(self, key, default)

    def __getattr__(self, name: str) -> Any:
        """Headers that a sender added are attributes too, as in Celery."""
        if not name.startswith("_"):
            headers = self.headers
            if headers and name in headers:
                return headers[name]
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"

    # What is derived when it is asked for. An assignment replaces each of them.

    @cached_property
    def options(self) -> dict[str, Any]:
        """The sender's options document: `headers`, `timelimit`, `shadow`, ...; {} where it sent none."""
        lease = self._lease
        if lease is None or not lease.options:
            return {}
        decoded: dict[str, Any] = orjson.loads(lease.options)
        return decoded

    @cached_property
    def root_id(self) -> str | None:
        return (self._lease.root_id or self.id) if self._lease else self.id

    @cached_property
    def parent_id(self) -> str | None:
        return self._lease.parent_id if self._lease else None

    @cached_property
    def correlation_id(self) -> str | None:
        return self.id

    @cached_property
    def group(self) -> str | None:
        return self._lease.group_id if self._lease else None

    @cached_property
    def group_index(self) -> int | None:
        return None

    @cached_property
    def chord(self) -> Any:
        """Truthy inside a group or a chord's header: its group's id."""
        return self.group

    @cached_property
    def ignore_result(self) -> bool:
        return bool(self._lease.flags & 2) if self._lease else False

    @cached_property
    def headers(self) -> dict[str, Any] | None:
        return self.options.get("headers")

    @cached_property
    def timelimit(self) -> tuple[float | None, float | None]:
        """(hard, soft) limit in seconds that this call asked for, None where it did not."""
        hard, soft = self.options.get("timelimit") or (None, None)
        return hard, soft

    @cached_property
    def expires(self) -> datetime | None:
        expires_ms = self._lease.expires_ms if self._lease else None
        return from_ms(expires_ms) if expires_ms is not None else None

    @cached_property
    def eta(self) -> str | None:
        """The due time asked for by `eta` or `countdown`, in ISO format."""
        return self.options.get("eta")

    @cached_property
    def shadow(self) -> str | None:
        return self.options.get("shadow")

    @cached_property
    def origin(self) -> str | None:
        return self.options.get("origin")

    @cached_property
    def reply_to(self) -> str | None:
        return self.options.get("reply_to")

    @cached_property
    def stamps(self) -> dict[str, Any] | None:
        return self.options.get("stamps")

    @cached_property
    def stamped_headers(self) -> list[str] | None:
        return self.options.get("stamped_headers")

    @cached_property
    def argsrepr(self) -> str:
        return repr(self.args)

    @cached_property
    def kwargsrepr(self) -> str:
        return repr(self.kwargs)

    @cached_property
    def delivery_info(self) -> dict[str, Any]:
        lease = self._lease
        if lease is None:
            return {"is_eager": True} if self.is_eager else {}
        return {
            "exchange": "",
            "routing_key": lease.queue,
            "queue": lease.queue,
            "priority": lease.priority,
            "redelivered": bool(lease.crashes),
        }

    @cached_property
    def children(self) -> list[Any]:
        """The results of what this execution has sent so far."""
        return []


# -- the stack of running tasks --------------------------------------------------------------------------------------

Frame = tuple[Any, Request, Any]  # the task, its request, the frame below

_frame: ContextVar[Frame | None] = ContextVar("liteq_frame", default=None)
current_frame = _frame.get


def enter(task: Any, request: Request) -> Token[Frame | None]:
    """Make `task` the running one; hand what it returns to `leave`."""
    return _frame.set((task, request, _frame.get()))


def leave(token: Token[Frame | None]) -> None:
    """Undo the `enter` that returned `token`."""
    _frame.reset(token)


def pop() -> Request | None:
    """Drop the innermost frame, for who has no token; its request."""
    frame = _frame.get()
    if frame is None:
        return None
    _frame.set(frame[2])
    return frame[1]


def request_of(task: Any) -> Request | None:
    """The innermost request under which `task` runs; None where it does not."""
    frame = _frame.get()
    while frame is not None:
        if frame[0] is task:
            return frame[1]
        frame = frame[2]
    return None


def current_request() -> Request | None:
    """The request of the innermost running task; None outside any."""
    frame = _frame.get()
    return frame[1] if frame is not None else None


def get_current_task() -> Any:
    """The innermost running task; None outside any."""
    frame = _frame.get()
    return frame[0] if frame is not None else None


def worker_request() -> Request | None:
    """The request that a worker is executing, below any tasks called as plain functions; None outside a worker."""
    frame = _frame.get()
    while frame is not None:
        if not frame[1].called_directly:
            return frame[1]
        frame = frame[2]
    return None


def _names_for_log() -> tuple[str, str] | None:
    frame = _frame.get()
    return None if frame is None else (str(frame[0].name), str(frame[1].id))


log.set_task_lookup(_names_for_log)

current_task: Any = Proxy(get_current_task, name="current_task")

# -- may this code wait for a result? --------------------------------------------------------------------------------

_joins_allowed: ContextVar[bool | None] = ContextVar("liteq_joins_allowed", default=None)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Inside this block, `get()` may be called in a task. Its worker process then waits: mind the deadlock."""
    token = _joins_allowed.set(True)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Inside this block, `get()` raises RuntimeError."""
    token = _joins_allowed.set(False)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


def assert_will_not_block() -> None:
    """Raise RuntimeError where waiting for a result could deadlock the workers: inside a task that a worker runs."""
    allowed = _joins_allowed.get()
    if allowed is None:
        request = worker_request()
        allowed = request is None or request.is_eager
    if not allowed:
        raise RuntimeError(
            "Never call result.get() within a task: its worker waits while the task it waits for may need that "
            "worker. Use a chain, a chord or a callback; `with allow_join_result():` if you know that it is safe."
        )


# -- the current app -------------------------------------------------------------------------------------------------


class _AppStack(threading.local):
    app: Any = None


_thread = _AppStack()
_default_app: Any = None
_fallback: Callable[[], Any] | None = None
_apps: weakref.WeakSet[Any] = weakref.WeakSet()
_on_finalize: list[Callable[[Any], object]] = []


def set_default_app(app: Any) -> None:
    """Make `app` what threads that set no app of their own see."""
    global _default_app
    _default_app = app


def set_current_app(app: Any) -> None:
    """Make `app` the current one of this thread; of the process, while that has none."""
    _thread.app = app
    if _default_app is None:
        set_default_app(app)


def set_fallback_app(make: Callable[[], Any]) -> None:
    """`make` builds the app of a process that uses `current_app` without ever making one."""
    global _fallback
    _fallback = make


def get_current_app() -> Any:
    """This thread's app, else the process's. Raises ImproperlyConfigured when there is none."""
    app = _thread.app or _default_app
    if app is None:
        if _fallback is None:
            raise ImproperlyConfigured(
                "there is no app: create one, `app = LiteQ('name', broker='sqlite:///tasks.db')`"
            )
        app = _fallback()
        set_default_app(app)
    return app


def current_sender() -> Any:
    """The app that a signature without one is sent through. Raises ImproperlyConfigured when there is none."""
    return get_current_app()


current_app: Any = Proxy(get_current_app, name="current_app")

# -- shared tasks: every app gets them, those made later too ---------------------------------------------------------


def announce_app(app: Any) -> None:
    """A new app exists."""
    _apps.add(app)


def active_apps() -> list[Any]:
    """The apps of this process that are still alive."""
    return list(_apps)


def connect_on_app_finalize(callback: Callable[[Any], object]) -> Callable[[Any], object]:
    """Call `callback(app)` whenever an app is finalized."""
    _on_finalize.append(callback)
    return callback


def announce_finalized(app: Any) -> None:
    """`app` is being finalized: let the shared tasks register."""
    for callback in tuple(_on_finalize):
        callback(app)
