"""A message as the commands show it."""

from __future__ import annotations

from typing import Any

from liteq.cli.output import times
from liteq.serialization import decode, decode_error, kind_of
from liteq.storage.inspect import Record

__all__ = ["message_document"]


def message_document(record: Record, *, with_args: bool = False) -> dict[str, Any]:
    """A message for `--json`. Arguments only when asked for: they may be confidential."""
    error = decode_error(record.error) if record.error else None
    document: dict[str, Any] = {
        "id": record.id,
        "task": record.task,
        "queue": record.queue,
        "priority": record.priority,
        "state": record.state.value,
        "created": times(record.created_ms),
        "due": times(record.due_ms),
        "expires": times(record.expires_ms),
        "started": times(record.started_ms),
        "finished": times(record.finished_ms),
        "retries": record.retries,
        "crashes": record.crashes,
        "reaps": record.reaps,
        "worker": record.worker,
        "root_id": record.root_id,
        "parent_id": record.parent_id,
        "awaits": record.awaits,
        "group_id": record.group_id,
        "error": None if error is None else {"type": error.type_name, "message": error.message},
    }
    if with_args:
        sealed = kind_of(record.payload)  # looking at a queue opens no envelope: unpickling would run code
        args, kwargs = decode(record.payload) if sealed is None else ([sealed], {})
        document |= {"args": args, "kwargs": kwargs}
    return document
