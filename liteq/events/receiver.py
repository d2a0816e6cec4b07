"""Capturing events: those in the file, and what the workers' entries there say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liteq.context import App
from liteq.context.living import living
from liteq.events.comings import Comings
from liteq.message import new_id
from liteq.result.waiting import Absence
from liteq.serialization import decode

__all__ = ["EventReceiver"]

LOOK_S = 1.0  # between looks at the workers' entries; also the delay after a lost ring
PAGE = 500

Handler = Callable[[dict[str, Any]], object]


class EventReceiver:
    """Calls `handlers` for events: by type, or under `"*"` for all that have none.

        receiver = app.events.Receiver(handlers={"task-failed": alarm, "*": state.event})
        receiver.capture(limit=None, timeout=None, wakeup=True)

    Set `should_stop` to end a capture. Earlier events are not captured. A capture waits for a server that
    does not answer. Celery's first argument, a connection, and its queue options are taken, and not needed.
    """

    def __init__(
        self,
        channel: Any = None,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        *,
        app: App,
        **_queue: Any,
    ) -> None:
        self.app = app
        self.channel = channel
        self.handlers: dict[str, Handler] = dict(handlers or {})
        self.routing_key = routing_key
        self.node_id = node_id or new_id()
        self.should_stop: bool = False
        self._last = app.storage.events.last()
        self._comings = Comings(app.clock, living(app))
        self._beats_due = 0.0
        self._more = False  # the last page was full: there may be more
        self._absence = Absence(app, "the next event")

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Handle events until there were `limit` of them. `wakeup`: have the workers beat, for an event of each.

        Raises TimeoutError after `timeout` seconds without an event.
        """
        for _ in self.itercapture(limit, timeout, wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[dict[str, Any]]:
        """As `capture`, giving each event once it has been handled."""
        clock = self.app.clock
        if wakeup:
            self.wakeup_workers()
        seen = 0
        quiet_since = clock.monotonic()
        with self.app.storage.hearing() as ear:
            while not self.should_stop:
                for event in self._news():
                    self.process(event["type"], event)
                    yield event
                    seen += 1
                    if limit is not None and seen >= limit:
                        return
                    quiet_since = clock.monotonic()
                if timeout is not None and clock.monotonic() - quiet_since >= timeout:
                    raise TimeoutError(f"no event within {timeout} s")
                if not self._more:
                    ear.wait(LOOK_S if timeout is None else min(LOOK_S, timeout))

    def process(self, type: str, event: dict[str, Any]) -> None:
        """Call the handler of an event."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def wakeup_workers(self, channel: Any = None) -> None:
        """Have the workers beat now. Nothing where the file is only looked at: they are not reached from there."""
        if not self.app.storage.driver.read_only and self.app.control.living():
            self.app.control.broadcast("heartbeat")

    # -- new events

    def _news(self) -> Iterator[dict[str, Any]]:
        if self.app.clock.monotonic() >= self._beats_due:
            self._beats_due = self.app.clock.monotonic() + LOOK_S
            alive = self._absence.tries(lambda: living(self.app), None)
            # In a file that was made anew the numbers begin again.
            self._last = min(self._last, self._absence.tries(self.app.storage.events.last, self._last))
            yield from () if alive is None else self._comings.news(alive)
        nothing: list[tuple[int, bytes]] = []
        page = self._absence.tries(lambda: self.app.storage.events.after(self._last, PAGE), nothing)
        self._more = len(page) == PAGE
        for number, data in page:
            self._last = number  # handled once, also where a handler ends the capture by raising
            yield {**decode(data), "local_received": self.app.clock.now_ms() / 1000}
            if self.should_stop:
                return
