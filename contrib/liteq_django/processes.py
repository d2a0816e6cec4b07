"""Django in a worker's processes: set up before tasks are imported, connections closed around each task.

A worker's parent forks, so it must not hold a connection at that moment: its children would share the socket, and of a
SQLite file they would believe to hold locks that are the parent's.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from liteq.context import current_frame
from liteq.middleware import Execution, Middleware

__all__ = ["Connections", "before_fork", "in_child", "set_up", "worker_ends", "worker_is_ready"]

logger = logging.getLogger("liteq.django")

_relays: list[Any] = []
_inside: ContextVar[bool] = ContextVar("liteq_django_inside", default=False)


def set_up(sender: Any, **_named: Any) -> None:
    """Before a worker imports its tasks: Django's registry, and then `tasks.py` of each installed app."""
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    if apps.is_installed("liteq_django"):
        sender.autodiscover_tasks(lambda: [config.name for config in apps.get_app_configs()])


class Connections(Middleware):
    """Around each task of a worker, each run and each step that was sent: it begins and ends as a request does.

    It finds connections that are alive and not older than CONN_MAX_AGE; without CONN_MAX_AGE they are closed behind it,
    its hooks and the receivers of its signals.

    The ORM's calls of all coroutines of a process run in asgiref's one thread, and so on connections that these have in
    common: as long as one of them runs, which may be amidst the rows of a query, none is closed for its age.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coroutines = 0  # tasks that run now

    def on_execute(self, execution: Execution, run: Callable[[Execution], Any]) -> Any:
        frame = current_frame()
        if frame is None or frame[1].is_eager or _inside.get():  # in a run: its steps have what it has
            return run(execution)
        is_async = inspect.iscoroutinefunction(frame[0].run) if execution.kind == "task" else frame[0].is_async
        _close_old()
        token = _inside.set(True)
        try:
            if is_async:  # in here: a soft limit may end its wait for that thread
                self._count(1)
            return run(execution)
        finally:
            _inside.reset(token)
            if is_async:
                self._count(-1)
            _close_old()
            _reset_queries()

    def _count(self, more: int) -> None:
        """A coroutine begins, or ends: look at the connections of asgiref's thread."""
        from asgiref.sync import SyncToAsync

        with self._lock:
            self._coroutines += more
        # The number is read in that thread: another may have begun by then.
        SyncToAsync.single_thread_executor.submit(lambda: _close_old(young=self._coroutines > max(0, more))).result()


def _close_old(*, young: bool = False) -> None:
    """Close this thread's connections that do not work or are too old; `young`: none is too old."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # it is a test's own, whose transaction `drain()` runs tasks in
            close_at = connection.close_at
            if young:
                connection.close_at = None
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None:
                connection.close_at = close_at


def _reset_queries() -> None:
    """With DEBUG, Django remembers every query until a request ends; in a worker none does."""
    from django.conf import settings

    if settings.DEBUG:
        from django.db import reset_queries

        reset_queries()


def before_fork(**_named: Any) -> None:
    """In the parent, before each child is forked."""
    from django.db import connections

    connections.close_all()


def in_child(**_named: Any) -> None:
    """In a new child of the prefork pool."""
    _start_relay()


def worker_is_ready(sender: Any, **_named: Any) -> None:
    """In a worker that runs its tasks itself; a forking one has its children relay, since it keeps no threads."""
    if getattr(sender, "pool_kind", "") in {"solo", "threads"}:
        _start_relay()


def worker_ends(**_named: Any) -> None:
    while _relays:
        _relays.pop().stop()


def _start_relay() -> None:
    from liteq_django.project import default_app
    from liteq_django.storage import relay_for

    relay = relay_for(default_app())
    if relay is not None:
        relay.start()
        _relays.append(relay)
