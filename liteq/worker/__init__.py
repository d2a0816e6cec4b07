"""The processes that claim and execute: one parent that owns the queue, children that run the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteq.worker.compat.worker import Worker as Worker

__all__ = ["Worker"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: Celery's own worker on a liteq file has chores from here, and no worker of liteq's.
    if name == "Worker":
        from liteq.worker.compat.worker import Worker

        globals()[name] = Worker
        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
