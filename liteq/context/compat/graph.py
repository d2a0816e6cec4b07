"""What comes after a running task, read from the rows that await it: `request.chain`, `callbacks`, `errbacks`, `chord`.

Celery's messages carry it; here it is looked up when a task asks. Signatures are dicts, as in Celery's worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from liteq.message import Flag, Lease

__all__ = ["body_of", "drop_callbacks", "drop_chain", "errbacks_of", "links_of", "rest_of_chain"]

SHOWN = ("headers", "shadow", "stamped_headers", "ignore_result")


def links_of(app: Any, lease: Lease) -> list[dict[str, Any]] | None:
    """Its callbacks; None where it has none."""
    return [_signature(app, row) for row in _beside(app, lease.id, errbacks=False)] or None


def errbacks_of(app: Any, lease: Lease) -> list[dict[str, Any]] | None:
    """Its errbacks; None where it has none."""
    return [_signature(app, row) for row in _beside(app, lease.id, errbacks=True)] or None


def rest_of_chain(app: Any, lease: Lease) -> list[dict[str, Any]] | None:
    """What its chain runs after it, the next one last; [] for the last of a chain, None outside of one."""
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


def body_of(app: Any, lease: Lease) -> dict[str, Any] | None:
    """What runs when all of its group has: the body of the chord in whose header it is."""
    if lease.group_id is None:
        return None
    rows = _next(app, lease.group_id)
    if len(rows) > 1 and rows[0].group_id is not None:
        return _group(app, rows[0].group_id, rows)
    return _signature(app, rows[0]) if rows else None


def drop_chain(app: Any, lease: Lease) -> None:
    """Cancel what its chain would run next."""
    _cancel(app, _next(app, lease.id))


def drop_callbacks(app: Any, lease: Lease) -> None:
    """Cancel its callbacks."""
    _cancel(app, _beside(app, lease.id, errbacks=False))


def _cancel(app: Any, rows: list[Any]) -> None:
    if rows:
        app.storage.cancel([row.id for row in rows], reason="the task before it has taken it out of its request")


def _rows(app: Any, node: str) -> Iterator[Any]:
    ids = app.storage.followers(node)
    found = app.storage.find_many(ids) if ids else {}
    return (found[id_] for id_ in ids if id_ in found)


def _beside(app: Any, node: str, *, errbacks: bool) -> list[Any]:
    """The rows that await `node` as its links, in their order."""
    return [
        row for row in _rows(app, node) if row.flags & Flag.CALLBACK and bool(row.flags & Flag.ON_FAILURE) == errbacks
    ]


def _next(app: Any, node: str) -> list[Any]:
    """The rows that await `node` as the next step of what it is in; behind a replacement, those of what it replaces."""
    rows = [row for row in _rows(app, node) if not row.flags & (Flag.CALLBACK | Flag.ON_FAILURE)]
    if len(rows) == 1 and rows[0].flags & Flag.ALIAS:
        return _next(app, rows[0].id)
    return rows


def _signature(app: Any, row: Any) -> dict[str, Any]:
    args, kwargs = app.content.read(row.payload)
    document = orjson.loads(row.options) if row.options else {}
    options = {"task_id": row.id, "queue": row.queue, **{key: document[key] for key in SHOWN if key in document}}
    options.update(document.get("stamps") or {})
    if row.group_id is not None:
        options.update(group_id=row.group_id, group_index=row.position)
    return {
        "task": row.task, "args": list(args), "kwargs": kwargs, "options": options, "subtask_type": None,
        "immutable": not row.flags & Flag.TAKES_INPUT,
    }  # fmt: skip


def _group(app: Any, group_id: str, rows: list[Any]) -> dict[str, Any]:
    return {
        "task": "celery.group", "args": [], "kwargs": {"tasks": [_signature(app, row) for row in rows]},
        "options": {"task_id": group_id}, "subtask_type": "group", "immutable": False,
    }  # fmt: skip
