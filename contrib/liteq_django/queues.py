"""Django's TASKS, as far as they are liteq's: whether there are any, and which queues they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

__all__ = ["backends", "has_backend", "task_queues"]

OURS = "liteq_django.TasksBackend"


def backends() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of TASKS whose backend is liteq's, or a subclass of it."""
    for alias, params in (getattr(settings, "TASKS", None) or {}).items():
        if _is_ours(str(params.get("BACKEND", ""))):
            yield alias, params


def _is_ours(backend: str) -> bool:
    if backend == OURS or not backend or backend.startswith(("django.", "django_tasks.")):
        return backend == OURS
    try:
        return issubclass(import_string(backend), import_string(OURS))
    except ImportError:  # TASKS itself tells of it when the backend is used
        return False


def has_backend() -> bool:
    return any(True for _ in backends())


def task_queues() -> list[str]:
    """The queues that these entries name; `default` where one names none."""
    return [queue for _, params in backends() for queue in params.get("QUEUES", ["default"])]
