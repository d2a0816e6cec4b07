"""Capturing events: those in the file, and what the workers' entries there say."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from liteq.context import App
from liteq.context.living import living
from liteq.message import new_id
from liteq.serialization import decode

__all__ = ["EventReceiver"]

LOOK_S = 1.0  # between looks at the workers' entries; also the delay after a lost ring
PAGE = 500
NOT_SEEN = -1  # the heartbeat of a worker that was there before the first look, ms

Handler = Callable[[dict[str, Any]], object]


class EventReceiver:
    """Calls `handlers` for events: by type, or under `"*"` for all that have none.

        receiver = app.events.Receiver(handlers={"task-failed": alarm, "*": state.event})
        receiver.capture(limit=None, timeout=None, wakeup=True)

    Set `should_stop` to end a capture. Earlier events are not captured. Celery's first argument, a
    connection, and its queue options are taken, and not needed.
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
        # of the workers that were there at the last look: name, ms; of now none is known, so each is told of first
        self._beats = {worker.name: NOT_SEEN for worker in living(app)}
        self._beats_due = 0.0

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
            yield from self._of_workers()
        for number, data in self.app.storage.events.after(self._last, PAGE):
            self._last = number  # handled once, also where a handler ends the capture by raising
            yield {**decode(data), "local_received": self.app.clock.now_ms() / 1000}
            if self.should_stop:
                return

    def _of_workers(self) -> Iterator[dict[str, Any]]:
        """worker-online, -heartbeat and -offline, from changes in the workers' entries.

        A worker that was killed is offline at the next look on its own machine, elsewhere when its heartbeat is late.
        """
        now_ms = self.app.clock.now_ms()
        there = {worker.name: worker for worker in living(self.app)}
        before, self._beats = self._beats, {name: worker.heartbeat_ms for name, worker in there.items()}
        for name, worker in there.items():
            if name not in before:
                yield self._event("worker-online", name, worker.started_ms, worker)
            elif before[name] != worker.heartbeat_ms:
                yield self._event("worker-heartbeat", name, worker.heartbeat_ms, worker)
        for name in before.keys() - there.keys():
            yield self._event("worker-offline", name, now_ms, None)

    def _event(self, type_: str, hostname: str, at_ms: int, worker: Any) -> dict[str, Any]:
        info: dict[str, Any] = {} if worker is None else worker.facts
        return {
            "type": type_, "hostname": hostname, "timestamp": at_ms / 1000, "clock": at_ms, "utcoffset": 0,
            "pid": worker.pid if worker is not None else None, "local_received": self.app.clock.now_ms() / 1000,
            "freq": 10.0, "sw_ident": "py-liteq", "sw_ver": info.get("version"), "sw_sys": platform.system(),
            "active": worker.leased if worker is not None else 0, "processed": info.get("processed", 0),
            "loadavg": info.get("loadavg"),
        }  # fmt: skip
