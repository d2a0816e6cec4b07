"""`app.runs(...)`: the runs that fit, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq.context import App
from liteq.storage.runs.records import STATUSES
from liteq.utils.misspelt import meant
from liteq.workflow.client.run import Run

__all__ = ["listed"]


def listed(
    app: App,
    ids: Sequence[str],
    *,
    name: str | None,
    status: str | None,
    tags: Sequence[str],
    limit: int,
    after: Run[Any] | str | None,
) -> list[Run[Any]]:
    """The runs that fit. Raises ValueError for a status that is none."""
    if status is not None and status not in STATUSES:
        hint = meant(str(status), STATUSES)
        raise ValueError(f"unknown status {status!r}: it is one of {', '.join(STATUSES)}{hint}")
    tags = (tags,) if isinstance(tags, str) else tuple(tags)
    last = after.id if isinstance(after, Run) else after
    records = app.storage.runs.list(list(ids), name=name, status=status, tags=tags, limit=limit, after=last)
    return [Run(app, record.id, _flow(app, record.name)) for record in records]


def _flow(app: App, name: str) -> Any:
    found = app.tasks.get(name)
    return found if getattr(found, "is_workflow", False) else None
