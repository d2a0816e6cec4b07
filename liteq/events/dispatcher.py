"""Sending events of one's own, from anywhere that the file can be opened."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any, Self

from liteq.clock import SystemClock
from liteq.context import App
from liteq.serialization import encode

__all__ = ["Event", "EventDispatcher", "event_bytes", "event_fields"]


def event_fields(app: App, type_: str, hostname: str, **fields: Any) -> dict[str, Any]:
    """An event: `type`, `hostname`, `timestamp` (s since the epoch), `clock`, `pid`, `utcoffset`, and `fields`."""
    now_ms = app.clock.now_ms()
    return {
        "type": type_, "hostname": hostname, "timestamp": now_ms / 1000, "clock": now_ms, "pid": os.getpid(),
        "utcoffset": time.timezone // 3600, **fields,
    }  # fmt: skip


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """An event as it stands in the file. Raises NotSerializable for fields that JSON has no form for."""
    return encode(event, what=f"the event {event['type']}")


def Event(type: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:  # noqa: N802
    """An event as a dict, of this moment where no `timestamp` (seconds since the epoch) is given."""
    return {"timestamp": SystemClock().now_ms() / 1000, **(_fields or {}), **fields, "type": type}


class EventDispatcher:
    """Sends events: `dispatcher.send("task-progress", uuid=self.request.id, percent=40)`.

    `groups`: only events whose type begins with one of these and a dash are sent; () sends all. Celery's connection,
    channel, serializer and buffer options are taken, and not needed: an event is in the file at once.
    """

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        *,
        app: App,
        groups: Collection[str] | None = None,
        **_transport: Any,
    ) -> None:
        self.app = app
        self.hostname = hostname or f"{os.getpid()}@{socket.gethostname()}"
        self.enabled = enabled
        self.groups = set(groups or ())

    def enable(self) -> None:
        """Send from now on."""
        self.enabled = True

    def disable(self) -> None:
        """Send nothing from now on."""
        self.enabled = False

    def send(
        self, type: str, blind: bool = False, retry: bool = False, retry_policy: Any = None, **fields: Any
    ) -> None:
        """Write an event. Raises NotSerializable; StorageError when the file cannot be written."""
        if not self.enabled or (self.groups and type.partition("-")[0] not in self.groups):
            return
        self.app.storage.events.put([event_bytes(event_fields(self.app, type, self.hostname, **fields))])

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Nothing is held back: here for Celery's sake."""

    def close(self) -> None:
        """Nothing is open: here for Celery's sake."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
