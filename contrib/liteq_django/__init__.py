"""liteq for Django: `INSTALLED_APPS += ["liteq_django"]`.

Nothing here imports Django's models: `"BACKEND": "liteq_django.TasksBackend"` names a class that is looked up late.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["DjangoTask", "PositionMiddleware", "TasksBackend", "drain", "event_stream"]

_WHERE = {
    "DjangoTask": "liteq_django.task",
    "PositionMiddleware": "liteq_django.positions",
    "TasksBackend": "liteq_django.tasks_backend",
    "drain": "liteq_django.testing",
    "event_stream": "liteq_django.events",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
