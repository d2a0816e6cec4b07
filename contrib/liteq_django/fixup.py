"""What an app is given in a Django process, whether or not `liteq_django` is in INSTALLED_APPS.

Applied where an app is made, which in `proj/celery.py` is before Django's settings can be read: so nothing of Django is
touched before it is needed.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from liteq import signals
from liteq.app import Task

__all__ = ["fixup"]

logger = logging.getLogger("liteq.django")

DJANGO_S = "django.conf:settings"


def fixup(app: Any) -> None:
    """Make `app` one of Django's: its settings, its tasks, its storage. Twice is as once."""
    if importlib.util.find_spec("django") is None:
        logger.warning("DJANGO_SETTINGS_MODULE is set, and there is no Django to import: %r goes without it", app)
        return
    if getattr(app, "_django", False):
        return
    app._django = True
    if app.task_cls is Task:
        app.task_cls = "liteq_django.task:DjangoTask"
    app.storage_opener = _open_storage
    app.async_submit = _submit
    app.coroutine_runner = _run_coroutine
    app.framework_settings = _settings
    app.on_after_configure.connect(_add_queues, weak=False)
    app._tasks.finders.append(_find_django_task)
    _connect()


def _open_storage(url: str, **options: Any) -> Any:
    from liteq_django.storage import open_storage

    return open_storage(url, **options)


def _submit(call: Callable[[], Any], writes: bool) -> Future[Any] | None:
    from liteq_django.storage import transaction_alias
    from liteq_django.waiting import submit

    return submit(call, writing_to=transaction_alias() if writes else None)


def _run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    from liteq_django.waiting import run_coroutine

    return run_coroutine(coroutine)


def _settings(app: Any) -> dict[str, Any]:
    """What Django's settings say. `LITEQ` counts over `CELERY_*`, which may be there for a Celery that still runs."""
    from liteq.settings import read_object
    from liteq_django.conf import queue_settings

    # An app that reads no configuration and is told no file is the project's: as if it had said so itself.
    is_bare = app._source is None and "broker_url" not in app._noted
    celery_s = read_object(DJANGO_S, "CELERY") if is_bare else {}
    return {**celery_s, **queue_settings()}


def _add_queues(source: Any, **_named: Any) -> None:
    """A worker that is told no queues takes those of Django's TASKS too."""
    from liteq_django.queues import task_queues

    more = task_queues()
    if more and source.task_queues is None:
        source["task_queues"] = list(dict.fromkeys([source.task_default_queue, *more]))


def _find_django_task(name: str) -> Any:
    from liteq_django.queues import has_backend

    if not has_backend():
        return None
    from liteq_django.running import find

    return find(name)


def _connect() -> None:
    """Once a process; a signal takes the same receiver once."""
    from liteq_django import processes

    signals.import_modules.connect(processes.set_up)
    signals.task_prerun.connect(processes.before_task)
    signals.task_postrun.connect(processes.after_task)
    signals.worker_before_create_process.connect(processes.before_fork)
    signals.worker_process_init.connect(processes.in_child)
    signals.worker_ready.connect(processes.worker_is_ready)
    signals.worker_shutdown.connect(processes.worker_ends)
