"""The rule of a unique key, as a message carries it."""

from __future__ import annotations

from liteq.utils.records import dataclass

__all__ = ["Exclusion"]


@dataclass(slots=True)
class Exclusion:
    """More of a unique key than that an unfinished message holds it (liteq/storage/sending/unique.py). Times in ms.

    `on_conflict`: "keep", "replace" or "postpone", as of `liteq.Unique`. `within_ms`: so long after the sending the
    message excludes others, finished or not. `max_wait_ms`: no later than so long after the first of the calls that
    were postponed. `every_ms`: the period of a `Throttle`; `trailing`: what is sent in one runs at its end.
    """

    on_conflict: str = "keep"
    within_ms: int | None = None
    max_wait_ms: int | None = None
    every_ms: int | None = None
    trailing: bool = False
