"""Django's TASKS, as far as they are liteq's: whether there are any, and which queues they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["backends", "has_backend", "task_queues"]

OURS = frozenset({"liteq_django.TasksBackend", "liteq_django.tasks_backend.TasksBackend"})


def backends() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of TASKS whose backend is liteq's, also a subclass's that says so by its name."""
    from django.conf import settings

    for alias, params in (getattr(settings, "TASKS", None) or {}).items():
        backend = str(params.get("BACKEND", ""))
        if backend in OURS or params.get("LITEQ"):
            yield alias, params


def has_backend() -> bool:
    return any(True for _ in backends())


def task_queues() -> list[str]:
    """The queues that these entries name; `default` where one names none."""
    return [queue for _, params in backends() for queue in params.get("QUEUES", ["default"])]
