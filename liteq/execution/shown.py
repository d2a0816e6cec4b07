"""A lease's arguments for those who show them, and do not execute it."""

from __future__ import annotations

import logging

from liteq.context import App
from liteq.exceptions import LiteqError
from liteq.message import Lease
from liteq.storage.payloads import NO_ARGUMENTS

__all__ = ["with_arguments"]

logger = logging.getLogger("liteq.execution")


def with_arguments(app: App, lease: Lease) -> Lease:
    """`lease` with its arguments, a read where they are large; with none where they cannot be read."""
    if lease.payload:
        return lease
    try:
        return app.storage.reader.with_payload(lease)
    except LiteqError as exc:
        logger.warning("the arguments of %s[%s] cannot be shown: %s", lease.task, lease.id, exc)
        return lease._replace(payload=NO_ARGUMENTS)
