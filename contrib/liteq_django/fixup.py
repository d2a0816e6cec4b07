"""The integration of an app with Django, whether or not `liteq_django` is in INSTALLED_APPS.

Added where an app is made, which in `proj/celery.py` is before Django's settings can be read: so nothing of Django is
touched before it is needed.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from liteq import context, signals
from liteq.app import Task
from liteq.context import App, Integration, RunCoroutine
from liteq.settings import KNOWN, canonical, read_object
from liteq_django.processes import Connections

if TYPE_CHECKING:
    from liteq.app import LiteQ

__all__ = ["DjangoIntegration", "fixup"]

logger = logging.getLogger("liteq.django")

DJANGO_S = "django.conf:settings"


def fixup(app: App) -> None:
    """Make `app` one of Django's: its settings, its tasks, its storage. Twice is as once."""
    if importlib.util.find_spec("django") is None:
        logger.warning("DJANGO_SETTINGS_MODULE is set, and there is no Django to import: %r goes without it", app)
        return
    if app.integrations.has(DjangoIntegration):
        return
    if app.task_cls is Task:
        app.task_cls = "liteq_django.task:DjangoTask"
    app.integrations.add(DjangoIntegration(app))
    app.middleware.add(Connections())
    _connect()


class DjangoIntegration(Integration):
    """Settings, storage, threads and tasks of a Django project."""

    def __init__(self, app: App) -> None:
        self._app = cast("LiteQ", app)

    def settings(self, *, is_bare: bool) -> dict[str, Any]:
        """Django's settings. `LITEQ` counts over `CELERY_*`, which may be there for a Celery that still runs."""
        from liteq_django.conf import queue_settings

        # A bare app is the project's: as if it had named Django's settings itself.
        celery_s = read_object(DJANGO_S, "CELERY") if is_bare else {}
        return {**celery_s, **queue_settings()}

    def configured(self, conf: Any) -> None:
        """A worker that is given no queues takes those of Django's TASKS too."""
        from liteq_django.queues import task_queues

        more = task_queues()
        if more and conf.task_queues is None:
            conf["task_queues"] = list(dict.fromkeys([conf.task_default_queue, *more]))

    def open_storage(self, url: str, **options: Any) -> Any:
        """The queue; where it is in a database of Django's, over Django's connection."""
        from liteq_django.storage import open_storage

        return open_storage(self._app, url, **options)

    def find_task(self, name: str) -> Any:
        """A function that is a task of Django's."""
        from liteq_django.queues import has_backend

        if not has_backend():
            return None
        from liteq_django.running import find

        return find(name)

    def packages(self) -> Iterable[str]:
        """The packages of INSTALLED_APPS."""
        from django.apps import apps

        return [config.name for config in apps.get_app_configs()]

    def submit(self, call: Callable[[], Any], *, writes: bool) -> Future[Any] | None:
        """A call that joins a transaction runs in the thread that has it."""
        from liteq_django.storage import transaction_alias
        from liteq_django.waiting import submit

        return submit(call, writing_to=transaction_alias() if writes else None)

    def coroutine_runner(self) -> RunCoroutine:
        """A runner that leaves asgiref's thread of the ORM usable."""
        from liteq_django.waiting import run_coroutine

        return run_coroutine


def settings_changed(setting: str, **_named: Any) -> None:
    """Have the apps follow Django's settings: `override_settings`, or pytest-django's `settings`, has changed one."""
    for app in context.active_apps():
        if app.integrations.has(DjangoIntegration) and (setting in {"LITEQ", "TIME_ZONE"} or _is_ours(app, setting)):
            app.reload_settings()


def _is_ours(app: App, setting: str) -> bool:
    """Whether `app` may have read `setting`: under the prefix of its own names, `CELERY_` where it has none."""
    return setting.startswith(app.namespace or "CELERY") or canonical(setting) in KNOWN


def _connect() -> None:
    """Once a process; a signal takes the same receiver once."""
    from django.core.signals import setting_changed

    from liteq_django import processes

    setting_changed.connect(settings_changed, dispatch_uid="liteq_django")

    signals.import_modules.connect(processes.set_up)
    signals.worker_before_create_process.connect(processes.before_fork)
    signals.worker_process_init.connect(processes.in_child)
    signals.worker_ready.connect(processes.worker_is_ready)
    signals.worker_shutdown.connect(processes.worker_ends)
