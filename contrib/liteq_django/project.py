"""The app of a Django project that makes none itself."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from typing import Any, cast

from liteq import context
from liteq.app import LiteQ

__all__ = ["app_of", "default_app", "know_tasks", "make_app"]

logger = logging.getLogger("liteq.django")


def make_app() -> LiteQ:
    """A new app, named as the project is: its settings are Django's, its tasks those of the installed apps."""
    module = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    return LiteQ(module.partition(".")[0] or "django", set_as_current=False)


def default_app() -> LiteQ:
    """The project's app: that of `proj/celery.py`, if `proj/__init__.py` imports it; else one made of the settings."""
    return cast("LiteQ", context.get_current_app())


@functools.cache
def know_tasks() -> None:
    """Import the project's tasks, as a worker does: a page hides all arguments of a task that its process has not.

    A web process imports those that its views send; periodic ones are often sent by nothing but beat.
    """
    try:
        default_app().import_tasks()
    except Exception:
        logger.exception("the project's tasks cannot be imported: pages hide the arguments of those that are missing")


def app_of(project: str) -> Any:
    """For `liteq -A project`: set Django up with `project.settings`, or what DJANGO_SETTINGS_MODULE says; its app.

    None where that is no Django project, or `liteq_django` is not among its INSTALLED_APPS.
    """
    if importlib.util.find_spec("django") is None:
        return None
    import django
    from django.apps import apps

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"{project}.settings")
    django.setup()
    return default_app() if apps.is_installed("liteq_django") else None
