"""Reading the documents of one look: the overview, and that of the table that is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.overview import overview
from liteq.monitor.runs.workflow_list import workflows
from liteq.monitor.schedules import schedules
from liteq.monitor.tasks.failures import failures
from liteq.monitor.tasks.limits import limits
from liteq.monitor.tasks.tasks import tasks
from liteq.monitor.workers import workers
from liteq.storage import describe_url

__all__ = ["read"]

OF_VIEW: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "failures": ("failures", failures),
    "workers": ("workers", workers),
    "workflows": ("workflows", workflows),
    "schedules": ("schedules", schedules),
    "limits": ("limits", limits),
}


def read(app: App, views: tuple[str, ...], q: str = "", see: Sight = ALL) -> dict[str, Any]:
    """The documents that the tables `views` are made of, by name; `q` is the search of the table "search".

    Each read has the deadline of its page. Raises StorageError where the file cannot be read.
    """
    where = describe_url(app.broker_url).where
    seen = overview(app, see=see)
    found: dict[str, Any] = {
        "now": app.clock.now_ms(),
        "file": Path(where).name,
        "wal": _size(f"{where}-wal"),
        "overview": seen,
    }
    for view in views:
        if view in OF_VIEW:
            name, reader = OF_VIEW[view]
            found[name] = reader(app, see=see)
        elif view == "search":
            found["tasks"] = tasks(app, q, see=see)
    return found


def _size(path: str) -> int | None:
    """The size of a file by `stat` alone: opening it would drop this process's locks. None where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - as in the storage
    except OSError:
        return None
