"""The end of a lease that was revoked."""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from liteq import signals as announce
from liteq.app.control import stamps_of
from liteq.context import Request
from liteq.exceptions import TaskRevokedError
from liteq.message import Cancel, Lease
from liteq.serialization import decode, encode_error, kind_of

__all__ = ["has_stamp", "revoked_outcome", "signal_number"]

logger = logging.getLogger("liteq.worker")


def signal_number(name: str | int | None) -> int:
    """`"SIGTERM"`, `"TERM"` or 15 as a number. Raises ValueError for an unknown signal."""
    if isinstance(name, int) or (isinstance(name, str) and name.isdecimal()):
        return int(signals.Signals(int(name)))
    text = (name or "SIGTERM").upper()
    found = getattr(signals, text if text.startswith("SIG") else f"SIG{text}", None)
    if not isinstance(found, signals.Signals):
        raise ValueError(f"unknown signal {name!r}: give a name such as SIGTERM, or a number")
    return int(found)


def has_stamp(lease: Lease, stamps: Mapping[str, AbstractSet[str]]) -> bool:
    """Whether a message has one of these stamps: JSON, by header."""
    if lease.options is None:
        return False
    own: Mapping[str, Any] = decode(lease.options).get("stamps") or {}
    return any(header in own and not stamps_of(own[header]).isdisjoint(wanted) for header, wanted in stamps.items())


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
            request=Request.to_be_shown(app, lease, args, kwargs, hostname),
            terminated=terminated,
            signum=signum,
            expired=expired,
        )
    return Cancel(encode_error(TaskRevokedError(reason)))
