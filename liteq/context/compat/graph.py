"""The tasks after a running one, read from the rows that await it: `request.chain`, `callbacks`, `errbacks`, `chord`.

Celery's messages carry it; here it is looked up when a task asks. Signatures are dicts, as in Celery's worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from liteq.context.app import App
from liteq.message import Flag, Lease
from liteq.serialization.content import Owner

__all__ = ["Following"]

SHOWN = ("headers", "shadow", "stamped_headers", "ignore_result")


class Following:
    """The rows that await a running message, as its request shows them."""

    def __init__(self, app: App, lease: Lease) -> None:
        self._app = app
        self._lease = lease

    def callbacks(self) -> list[dict[str, Any]] | None:
        """Its callbacks; None where it has none."""
        return [_signature(self._app, row) for row in _beside(self._app, self._lease.id, errbacks=False)] or None

    def errbacks(self) -> list[dict[str, Any]] | None:
        """Its errbacks; None where it has none."""
        return [_signature(self._app, row) for row in _beside(self._app, self._lease.id, errbacks=True)] or None

    def chain(self) -> list[dict[str, Any]] | None:
        """The tasks that its chain runs after it, the next one last; [] for the last one, None outside of a chain."""
        app, lease = self._app, self._lease
        steps: list[dict[str, Any]] = []
        node = lease.id
        while rows := _next(app, node):
            group = rows[0].group_id
            if group is None or group == lease.group_id:
                steps.append(_signature(app, rows[0]))
                node = rows[0].id
            else:
                steps.append(_group(app, group, rows))
                node = group
        return steps[::-1] if steps or lease.awaits is not None else None

    def chord(self) -> dict[str, Any] | None:
        """The body of the chord in whose header it is: runs when all of its group has."""
        if self._lease.group_id is None:
            return None
        rows = _next(self._app, self._lease.group_id)
        if len(rows) > 1 and rows[0].group_id is not None:
            return _group(self._app, rows[0].group_id, rows)
        return _signature(self._app, rows[0]) if rows else None

    def drop_chain(self) -> None:
        """Cancel the next task of its chain."""
        _cancel(self._app, _next(self._app, self._lease.id))

    def drop_callbacks(self) -> None:
        """Cancel its callbacks."""
        _cancel(self._app, _beside(self._app, self._lease.id, errbacks=False))


def _cancel(app: App, rows: list[Any]) -> None:
    if rows:
        app.storage.cancel([row.id for row in rows], reason="the task before it has taken it out of its request")


def _rows(app: App, node: str) -> Iterator[Any]:
    ids = app.storage.reader.followers(node)
    found = app.storage.reader.find_many(ids) if ids else {}
    return (found[id_] for id_ in ids if id_ in found)


def _beside(app: App, node: str, *, errbacks: bool) -> list[Any]:
    """The rows that await `node` as its links, in their order."""
    return [
        row for row in _rows(app, node) if row.flags & Flag.CALLBACK and bool(row.flags & Flag.ON_FAILURE) == errbacks
    ]


def _next(app: App, node: str) -> list[Any]:
    """The rows that await `node` as the next ones; behind a replacement, those of the message that it replaces."""
    rows = [row for row in _rows(app, node) if not row.flags & (Flag.CALLBACK | Flag.ON_FAILURE)]
    if len(rows) == 1 and rows[0].flags & Flag.ALIAS:
        return _next(app, rows[0].id)
    return rows


def _signature(app: App, row: Any) -> dict[str, Any]:
    args, kwargs = app.content.read(row.payload, Owner(row.id, row.task))
    document = orjson.loads(row.options) if row.options else {}
    options = {"task_id": row.id, "queue": row.queue, **{key: document[key] for key in SHOWN if key in document}}
    options.update(document.get("stamps") or {})
    if row.group_id is not None:
        options.update(group_id=row.group_id, group_index=row.position)
    return {
        "task": row.task, "args": list(args), "kwargs": kwargs, "options": options, "subtask_type": None,
        "immutable": not row.flags & Flag.TAKES_INPUT,
    }  # fmt: skip


def _group(app: App, group_id: str, rows: list[Any]) -> dict[str, Any]:
    return {
        "task": "celery.group", "args": [], "kwargs": {"tasks": [_signature(app, row) for row in rows]},
        "options": {"task_id": group_id}, "subtask_type": "group", "immutable": False,
    }  # fmt: skip
