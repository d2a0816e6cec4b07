"""Events: the life of tasks and workers, as it happens. Names and fields are Celery's.

    def show(event): print(event["type"], event.get("uuid"))

    app.events.Receiver(handlers={"*": show}).capture()

Workers send events of tasks where `worker_send_task_events` is on (`-E`), producers where `task_send_sent_event` is.
Both are off by default, and cost nothing then. Events of workers are read from their entries in the file, so they are
always there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from liteq.context import App
from liteq.events.dispatcher import Event, EventDispatcher
from liteq.events.receiver import EventReceiver
from liteq.events.state import State

__all__ = ["Event", "EventDispatcher", "EventReceiver", "Events", "State"]


class Events:
    """`app.events`."""

    def __init__(self, app: App) -> None:
        self.app = app

    def Receiver(self, *args: Any, **kwargs: Any) -> EventReceiver:  # noqa: N802 - Celery's name
        """A receiver, which captures events. See EventReceiver."""
        kwargs.setdefault("app", self.app)
        return EventReceiver(*args, **kwargs)

    def Dispatcher(self, *args: Any, **kwargs: Any) -> EventDispatcher:  # noqa: N802
        """A dispatcher, which sends events of one's own. See EventDispatcher."""
        kwargs.setdefault("app", self.app)
        return EventDispatcher(*args, **kwargs)

    def State(self, *args: Any, **kwargs: Any) -> State:  # noqa: N802
        """A state, which gathers events to the picture that they give. See State."""
        return State(*args, **kwargs)

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[EventDispatcher]:
        """A dispatcher for the time of a block."""
        with self.Dispatcher(hostname=hostname, enabled=enabled) as dispatcher:
            yield dispatcher
