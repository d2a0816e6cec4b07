"""The signal task_received: sent for each message that a worker has claimed, in its main process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liteq import signals
from liteq.context import App, Request
from liteq.execution.shown import arguments_of, with_arguments
from liteq.message import Lease

__all__ = ["Received", "announce_received"]


class Received(Request):
    """The request of a message that waits for a process; Celery's monitors ask it for `info()`."""

    def info(self, safe: bool = False) -> dict[str, Any]:
        """The message as `inspect().reserved()` shows it; with `safe`, the arguments as text."""
        args, kwargs = self._shown()
        return {
            "id": self.id, "name": self.task, "type": self.task, "hostname": self.hostname, "time_start": None,
            "args": self.argsrepr if safe else args, "kwargs": self.kwargsrepr if safe else kwargs,
            "acknowledged": False, "delivery_info": self.delivery_info, "worker_pid": None,
        }  # fmt: skip


def announce_received(worker: Any, leases: Sequence[Lease]) -> None:
    """Send task_received for each of `leases`; the sender is `worker`, as Celery's has a `hostname` and an `app`.

    Arguments that only the executing process may read are not in it.
    """
    app: App = worker.app
    for lease in (with_arguments(app, lease) for lease in leases):
        args, kwargs = arguments_of(app, lease)
        request = Received.to_be_shown(app, lease, args, kwargs, worker.hostname)
        signals.task_received.send(sender=worker, request=request)
