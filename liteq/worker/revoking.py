"""The end of a lease that was revoked."""

from __future__ import annotations

import logging
import signal as signals
from typing import Any

from liteq import signals as announce
from liteq.context import Request
from liteq.exceptions import TaskRevokedError
from liteq.message import Cancel, Lease
from liteq.serialization import encode_error, kind_of

__all__ = ["revoked_outcome", "signal_number"]

logger = logging.getLogger("liteq.worker")


def signal_number(name: str | int | None) -> int:
    """`"SIGTERM"`, `"TERM"` or 15 as a number. Raises ValueError for what is no signal."""
    if isinstance(name, int) or (isinstance(name, str) and name.isdecimal()):
        return int(signals.Signals(int(name)))
    text = (name or "SIGTERM").upper()
    found = getattr(signals, text if text.startswith("SIG") else f"SIG{text}", None)
    if not isinstance(found, signals.Signals):
        raise ValueError(f"there is no signal {name!r}")
    return int(found)


def revoked_outcome(
    app: Any, lease: Lease, hostname: str, *, terminated: bool, signum: int | None = None, expired: bool = False
) -> Cancel:
    """Cancelled, as `TaskRevokedError`; logged, and sent as the signal `task_revoked`."""
    reason = "terminated" if terminated else "expired" if expired else "revoked"
    logger.info("Task %s[%s] %s", lease.task, lease.id, reason)
    if announce.task_revoked.receivers:
        args, kwargs = app.content.read(lease.payload) if kind_of(lease.payload) is None else ([], {})
        announce.task_revoked.send(
            sender=app.tasks.get(lease.task),
            request=Request.from_lease(lease, args, kwargs, hostname),
            terminated=terminated,
            signum=signum,
            expired=expired,
        )
    return Cancel(encode_error(TaskRevokedError(reason)))
