"""Django in a worker's processes: set up before tasks are imported, connections closed around each task.

A worker's parent forks, so it must not hold a connection at that moment: its children would share the socket, and of a
SQLite file they would believe to hold locks that are the parent's.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from liteq.context import current_frame
from liteq.middleware import Execution, Middleware

__all__ = ["Connections", "before_fork", "in_child", "set_up", "worker_ends", "worker_is_ready"]

logger = logging.getLogger("liteq.django")

_relays: list[Any] = []


def set_up(sender: Any, **_named: Any) -> None:
    """Before a worker imports its tasks: Django's registry, and then `tasks.py` of each installed app."""
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    if apps.is_installed("liteq_django"):
        sender.autodiscover_tasks(lambda: [config.name for config in apps.get_app_configs()])


class Connections(Middleware):
    """Around each task of a worker: it begins and ends as a request does.

    It finds connections that are alive and not older than CONN_MAX_AGE; without CONN_MAX_AGE they are closed behind it,
    its hooks and the receivers of its signals.
    """

    def on_execute(self, execution: Execution, run: Callable[[Execution], Any]) -> Any:
        frame = current_frame()
        if execution.kind != "task" or frame is None or frame[1].is_eager:
            return run(execution)
        _close_old(frame[0])
        try:
            return run(execution)
        finally:
            _close_old(frame[0])
            _reset_queries()


def _close_old(task: Any) -> None:
    _close_old_of_this_thread()
    if inspect.iscoroutinefunction(task.run):
        # A coroutine's calls of the ORM run in asgiref's one thread, which has connections of its own.
        from asgiref.sync import SyncToAsync

        SyncToAsync.single_thread_executor.submit(_close_old_of_this_thread).result()


def _close_old_of_this_thread() -> None:
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # it is a test's own, whose transaction `drain()` runs tasks in
            connection.close_if_unusable_or_obsolete()


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
