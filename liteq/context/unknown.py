"""Leaving a message whose task a worker does not know to the workers that know it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.message import Lease, Release
from liteq.serialization import decode, encode

__all__ = ["FIRST_PAUSE_MS", "LONGEST_PAUSE_MS", "UNKNOWN_SINCE", "left_to_others", "unknown_since_ms"]

UNKNOWN_SINCE = "unknown_since_ms"  # in the options of a message that a worker could not run
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 500, 5_000  # until such a message may be taken again


def unknown_since_ms(lease: Lease, now_ms: int) -> int | None:
    """When the message of `lease` first came to a worker that did not know its task, in ms; None: it comes now."""
    return _since_ms(_options(lease), now_ms)


def _options(lease: Lease) -> dict[str, Any]:
    return decode(lease.options) if lease.options else {}


def _since_ms(options: Mapping[str, Any], now_ms: int) -> int | None:
    since_ms = options.get(UNKNOWN_SINCE)
    return None if since_ms is None else min(int(since_ms), now_ms)


def left_to_others(lease: Lease, now_ms: int, *, left_ms: int = LONGEST_PAUSE_MS) -> Release:
    """The outcome that puts a message back for others: for longer each time, and at most for `left_ms`.

    Its options say since when, for each worker that it comes to.
    """
    options = _options(lease)
    since_ms = _since_ms(options, now_ms)
    since_ms = now_ms if since_ms is None else since_ms
    pause_ms = min(max((now_ms - since_ms) // 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS, left_ms)
    doc = encode({**options, UNKNOWN_SINCE: since_ms}, what=f"options of {lease.task}")
    return Release(pause_ms=pause_ms, options=doc, elsewhere=True)
