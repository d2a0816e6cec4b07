"""The signals task_unknown and task_rejected: messages that a worker cannot run."""

from __future__ import annotations

from typing import Any

from liteq import signals
from liteq.context import App, Request
from liteq.exceptions import NotRegistered
from liteq.execution.shown import with_arguments
from liteq.message import Lease
from liteq.serialization import kind_of
from liteq.serialization.content import Owner

__all__ = ["RawMessage", "announce_refused"]


class RawMessage:
    """A message for receivers of these signals: kombu's attributes, read only."""

    acknowledged = True  # it is a dead letter, to be replayed when the code can run it
    content_encoding = "utf-8"

    def __init__(self, app: App, lease: Lease) -> None:
        lease = with_arguments(app, lease)
        request = Request.from_lease(lease, None, None)
        self._app = app
        self.body = lease.payload
        self._owner = Owner(lease.id, lease.task)
        self.content_type = kind_of(lease.payload) or "application/json"
        self.delivery_tag = lease.token
        self.delivery_info = request.delivery_info
        self.properties = request.properties
        self.headers = {
            **(request.headers or {}), "lang": "py", "task": lease.task, "id": lease.id, "root_id": request.root_id,
            "parent_id": lease.parent_id, "group": lease.group_id, "retries": lease.retries, "eta": request.eta,
            "expires": request.expires, "timelimit": request.timelimit, "shadow": request.shadow,
        }  # fmt: skip

    @property
    def payload(self) -> Any:
        """[args, kwargs]. Raises the worker's error where they cannot be read."""
        return self.decode()

    def decode(self) -> Any:
        """As `payload`."""
        return self._app.content.read(self.body, self._owner)


def announce_refused(app: App, lease: Lease, exc: BaseException) -> None:
    """Send task_unknown where no task of that name is registered, task_rejected where a message cannot be read."""
    if isinstance(exc, NotRegistered):
        if signals.task_unknown.receivers:
            message = RawMessage(app, lease)
            signals.task_unknown.send(sender=app, message=message, exc=exc, name=lease.task, id=lease.id)
    elif signals.task_rejected.receivers:
        signals.task_rejected.send(sender=app, message=RawMessage(app, lease), exc=exc)
