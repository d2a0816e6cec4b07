"""How a caller of Celery's waits for results: asleep until the file rings that something has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from liteq.storage.storage import Storage

__all__ = ["rings"]

NET_S = 1.0  # a ring may be lost
SHORTEST_S = 0.01  # between two calls of `on_interval`


def rings(
    storage: Storage, timeout: float | None, interval: float, on_interval: Callable[[], Any] | None
) -> Iterator[None]:
    """A look now, and one after each ring of what has ended, until `timeout` seconds are over.

    `on_interval` is called each `interval` seconds, and not at each ring: Celery's own reads all parents, which for a
    chord of n would be n rows at each of n rings.
    """
    now, interval = time.monotonic(), max(interval, SHORTEST_S)
    until = inf if timeout is None else now + timeout
    calls_at = inf if on_interval is None else now + interval
    with storage.hearing() as listener:
        while True:
            yield None
            now = time.monotonic()
            if now >= until:
                return
            if on_interval is not None and now >= calls_at:
                on_interval()
                calls_at = time.monotonic() + interval
            listener.wait(min(until - now, calls_at - now, NET_S))
