"""A lease for those who show it, and do not execute it: its kind, its arguments."""

from __future__ import annotations

import logging
from typing import Any

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.message import Flag, Lease
from liteq.serialization import kind_of
from liteq.storage.rows.payloads import NO_ARGUMENTS

__all__ = ["arguments_of", "noun_of", "with_arguments"]

logger = logging.getLogger("liteq.execution")


def noun_of(lease: Lease) -> str:
    """The word for it in a line of the log: Task, Workflow, Step."""
    if lease.flags & Flag.RUN:
        return "Step" if lease.flags & Flag.STEP else "Workflow"
    return "Task"


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
