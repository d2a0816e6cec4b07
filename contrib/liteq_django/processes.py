"""Django in a worker's processes: set up before tasks are imported, connections closed around each task.

A worker's parent forks, so it must not hold a connection at that moment: its children would share the socket, and of a
SQLite file they would believe to hold locks that are the parent's.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

from liteq.context import get_current_app

__all__ = ["after_task", "before_fork", "before_task", "in_child", "set_up", "worker_ends", "worker_is_ready"]

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


def before_task(task: Any, **_named: Any) -> None:
    """A task begins as a request does: with connections that are alive, and not older than CONN_MAX_AGE."""
    if not task.request.is_eager:
        _close_old(task)


def after_task(task: Any, **_named: Any) -> None:
    """And ends as one: without CONN_MAX_AGE its connections are closed."""
    if not task.request.is_eager:
        _close_old(task)
        _reset_queries()


def _close_old(task: Any) -> None:
    _close_old_of_this_thread()
    if inspect.iscoroutinefunction(task.run):
        # What a coroutine asks of the ORM runs in asgiref's one thread, which has connections of its own.
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
    from liteq_django.storage import relay_for

    relay = relay_for(get_current_app())
    if relay is not None:
        relay.start()
        _relays.append(relay)
