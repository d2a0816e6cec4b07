"""The data that is read of limits."""

from __future__ import annotations

from liteq.utils.records import NamedTuple

__all__ = ["Limit"]


class Limit(NamedTuple):
    """A limit, or a key under one, as it is now.

    `rate` ("100/m"), `concurrent` and `tokens` ("200k/m"): None for no limit of that kind. `running`: the places that
    are taken, counted only where `concurrent` is set. `held`: messages that wait for it, no more than 10,000 are
    counted. `paused_until`: seconds since the epoch, None where it is not paused. `reason`: of the pause.
    """

    key: str
    rate: str | None
    concurrent: int | None
    running: int
    held: int
    paused_until: float | None
    reason: str
    tokens: str | None = None
