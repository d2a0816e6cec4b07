"""The signal task_received: what a worker has claimed, told to who listens in its parent process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq import signals
from liteq.context import Request
from liteq.message import Lease
from liteq.serialization import kind_of

__all__ = ["announce_received"]


def announce_received(app: Any, leases: Sequence[Lease], hostname: str | None) -> None:
    """Send task_received for each of `leases`. Arguments that only the executing process may read are not in it."""
    for lease in leases:
        args, kwargs = app.content.read(lease.payload) if kind_of(lease.payload) is None else ([], {})
        signals.task_received.send(sender=app, request=Request.from_lease(lease, args, kwargs, hostname))
