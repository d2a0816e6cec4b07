"""The app, and what stands for it where there is none: `LiteQ`, `shared_task`, `current_app`."""

from __future__ import annotations

from typing import cast

from liteq import context
from liteq.app.base import Celery, LiteQ
from liteq.app.registry import TaskRegistry
from liteq.app.shared import shared_task
from liteq.app.task import Task
from liteq.app.verbs.telling import progress

__all__ = [
    "Celery", "LiteQ", "Task", "TaskRegistry", "current_app", "current_task", "default_app", "progress", "shared_task",
]  # fmt: skip


def _fallback() -> LiteQ:
    """The app of a process that made none: shared tasks can be called, and are sent where LITEQ_BROKER_URL says."""
    return LiteQ("default", set_as_current=False)


context.set_fallback_app(_fallback)

current_app = cast(LiteQ, context.current_app)
current_task = cast("Task[..., object]", context.current_task)


def default_app() -> LiteQ:
    """The app that `current_app` stands for now."""
    return cast(LiteQ, context.get_current_app())
