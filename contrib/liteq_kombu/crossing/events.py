"""Events that cross over: those of either side are one log, which the tools of both read.

Celery sends an event to an exchange, and each listener has a queue there. Here it is written into liteq's log once,
and each queue reads the log from its place. That a worker is there or gone is written by nobody: its entry in the file
tells it, of liteq's workers and of Celery's. So a heartbeat costs no write, however many listen.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from liteq.events.comings import Comings
from liteq_kombu.envelope import JSON, from_json
from liteq_kombu.files import app_here

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["EVENTS", "Hearing", "is_events", "put", "trim"]

logger = logging.getLogger("liteq.kombu")

EVENTS: Final = "events:"  # the queue that stands for the log
NAME: Final = "celeryev"  # of the exchange, where the app gives it no other one
OF_PRESENCE: Final = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
OF_TASKS: Final = b'{"type":"task-'  # how an event of a task begins in the log
KEPT_S: Final = 600.0  # as liteq's own setting `events_expires`
TRIM_S: Final = 5.0  # between two looks for events that have expired
CHUNK: Final = 1_000  # of them that go at once
LOOK_S: Final = 0.25  # between two looks of a queue at the log: a busy worker wakes far more often
COMINGS_S: Final = 2.0  # between two looks at the workers
PAGE: Final = 100
LIKE_MS: Final = 1 << 40  # Celery's clock counts events; what is larger is liteq's, in milliseconds


def is_events(exchange: str) -> bool:
    """Whether events go to the exchange of this name."""
    app = app_here()
    return exchange == NAME if app is None else exchange == app.conf.event_exchange


# -- Celery sends ------------------------------------------------------------------------------------------------------


def put(file: File, message: Mapping[str, Any]) -> None:
    """Write the events of a message of Celery's into the log."""
    try:
        found = from_json(message["body"])
    except (ValueError, TypeError):
        if not file.told_of_events:
            logger.warning("events are read as JSON here: without event_serializer='json' nobody hears them")
            file.told_of_events = True
        return
    several = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    kept = [orjson.dumps({"type": None, **one}) for one in several if one.get("type") not in OF_PRESENCE]
    if kept:
        file.storage.events.put(kept)
        file.trims_events = True
        if file.held is None:  # no thread does
            trim(file)


def trim(file: File) -> None:
    """Delete the events that have expired, now and then, where this process has written some."""
    now = time.monotonic()
    if file.trims_events and now >= file.trimmed_at + TRIM_S:
        file.trimmed_at = now
        if file.storage.events.trim(KEPT_S, CHUNK) >= CHUNK:
            file.trimmed_at = 0.0  # a busy app writes thousands a second: on at the next call


# -- Celery listens ----------------------------------------------------------------------------------------------------


class Hearing:
    """Events as one queue hears them from now on. It is bound by patterns of routing keys, any of which is enough.

    A queue for the events of workers alone is another worker's, for its gossip: it hears of workers of Celery's only,
    as it counts on answers of all.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._patterns: list[re.Pattern[str]] = []
        self._last = file.storage.events.last()
        self._comings = Comings(file.storage.clock, file.living())
        self._look_at = self._comings_at = 0.0

    def bind(self, pattern: str) -> None:
        """Hear, too, what has a routing key that fits this regular expression."""
        self._patterns.append(re.compile(pattern))
        self._hears_tasks = self._fits("task.received")

    def _fits(self, key: str) -> bool:
        return any(pattern.match(key) for pattern in self._patterns)

    def is_due(self, now: float) -> bool:
        """Whether it looks at the monotonic time `now`."""
        return now >= self._look_at

    def news(self) -> Iterator[dict[str, Any]]:
        """The events since the last look, as messages."""
        now = time.monotonic()
        if not self.is_due(now):
            return
        self._look_at = now + LOOK_S
        events = []
        if now >= self._comings_at:
            self._comings_at = now + COMINGS_S
            self._last = min(self._last, self._file.storage.events.last())  # a file that was made anew begins again
            living = self._file.living()
            heard = living if self._hears_tasks else [one for one in living if one.facts.get("celery")]
            events += list(self._comings.news(heard))
        events += self._logged()
        for event in events:
            type_ = event.get("type")
            key = type_.replace("-", ".") if isinstance(type_, str) else ""
            if self._fits(key):
                yield _message(event, key)

    def _logged(self) -> list[dict[str, Any]]:
        """The next events of the log that concern it."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._file.storage.events.after(self._last, PAGE)
            if page:
                self._last = page[-1][0]
            wanted = (data for _, data in page if self._hears_tasks or not data.startswith(OF_TASKS))
            found += [event for data in wanted if isinstance(event := orjson.loads(data), dict)]
            if len(page) < PAGE:
                return found
            if found:
                self._look_at = 0.0  # there may be more
                return found


def _message(event: dict[str, Any], key: str) -> dict[str, Any]:
    """An event as Celery has it. Its receivers set what an event of liteq's has of another kind, if it is not there."""
    clock = event.get("clock")
    if isinstance(clock, int) and clock >= LIKE_MS:
        event = {name: value for name, value in event.items() if name not in {"clock", "utcoffset"}}
    return {
        "body": orjson.dumps(event).decode(), "headers": {"hostname": event.get("hostname")},
        "properties": {"delivery_info": {"exchange": NAME, "routing_key": key}},
        "content-type": JSON, "content-encoding": "utf-8",
    }  # fmt: skip
