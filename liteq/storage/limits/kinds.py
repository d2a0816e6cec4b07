"""The data that is read of limits."""

from __future__ import annotations

from liteq.utils.records import NamedTuple

__all__ = ["Held", "Holder", "Limit"]


class Limit(NamedTuple):
    """A limit, or a key under one, as it is now.

    `rate` ("100/m") and `concurrent`: None for no limit of that kind. `running`: the places that are taken, counted
    only where `concurrent` is set. `held`: messages that wait for it, no more than 10,000 are counted. `paused_until`:
    seconds since the epoch, None where it is not paused. `reason`: of the pause.
    """

    key: str
    rate: str | None
    concurrent: int | None
    running: int
    held: int
    paused_until: float | None
    reason: str


class Holder(NamedTuple):
    """A message that has a place under a limit: since when in ms since the epoch, and the name of its worker."""

    id: str
    task: str
    since_ms: int
    worker: str


class Held(NamedTuple):
    """The key that a held message waits for, since when (ms since the epoch), and how many of its line go before it.

    No more than 10,000 are counted. `at_ms`: when the next token of the key comes, or its pause ends; None: it waits
    for a place.
    """

    key: str
    since_ms: int
    ahead: int
    at_ms: int | None = None
