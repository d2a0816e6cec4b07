"""A lease for those who show it, and do not execute it: its kind, its arguments, the signal of its revoking."""

from __future__ import annotations

import logging
from typing import Any

from liteq import signals
from liteq.context import App, Request
from liteq.exceptions import LiteqError
from liteq.message import Flag, Lease
from liteq.serialization import kind_of
from liteq.storage.reading.inspect import Record
from liteq.storage.rows.payloads import NO_ARGUMENTS

__all__ = ["announce_revoked", "arguments_of", "lease_of", "noun_of", "with_arguments"]

logger = logging.getLogger("liteq.execution")


def noun_of(lease: Lease) -> str:
    """The word for it in a line of the log: Task, Workflow, Step."""
    if lease.flags & Flag.RUN:
        return "Step" if lease.flags & Flag.STEP else "Workflow"
    return "Task"


def lease_of(record: Record, *, seq: int = 0, token: int = 0) -> Lease:
    """`record`, which nobody has leased, in the form of a lease."""
    return Lease(
        seq=seq, token=token, id=record.id, task=record.task, payload=record.payload, options=record.options,
        queue=record.queue, priority=record.priority, due_ms=record.due_ms, expires_ms=record.expires_ms,
        retries=record.retries, crashes=record.crashes, flags=record.flags, root_id=record.root_id,
        parent_id=record.parent_id, group_id=record.group_id, awaits=record.awaits,
    )  # fmt: skip


def with_arguments(app: App, lease: Lease) -> Lease:
    """`lease` with its arguments, a read where they are large; with none where they cannot be read."""
    if lease.payload:
        return lease
    try:
        return app.storage.reader.with_payload(lease)
    except LiteqError as exc:
        logger.warning("the arguments of %s[%s] cannot be shown: %s", lease.task, lease.id, exc)
        return lease._replace(payload=NO_ARGUMENTS)


def arguments_of(app: App, lease: Lease) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of `lease`, which has them; none where the process that executes it alone may read them, or nobody.

    What another program wrote is refused where it is executed: here it is to hold up nothing.
    """
    if kind_of(lease.payload) is not None:
        return [], {}
    try:
        args, kwargs = app.content.read(lease.payload)
    except (LiteqError, TypeError, ValueError):
        return [], {}
    return args, kwargs


def announce_revoked(
    app: App, lease: Lease, hostname: str | None, *, terminated: bool, signum: int | None = None, expired: bool = False
) -> None:
    """Send the signal `task_revoked`, where somebody listens."""
    if not signals.task_revoked.receivers:
        return
    lease = with_arguments(app, lease)
    args, kwargs = arguments_of(app, lease)
    signals.task_revoked.send(
        sender=app.tasks.find(lease.task),
        request=Request.to_be_shown(app, lease, args, kwargs, hostname),
        terminated=terminated,
        signum=signum,
        expired=expired,
    )
