"""The progress of a task, as its last report says it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from liteq.clock import from_ms
from liteq.serialization import decode
from liteq.storage.reading.inspect import Record
from liteq.utils.records import NamedTuple

__all__ = ["Progress", "progress_from", "progress_of"]


class Progress(NamedTuple):
    """A report of a task: `done` of `total` (None: unknown), a `note`, and `at` what time it was made.

    `eta_s`: how many seconds were left then, at the pace of its reports so far; None where that is unknown.
    """

    done: float
    total: float | None
    note: str
    at: datetime | None
    eta_s: float | None


def progress_of(record: Record) -> Progress | None:
    """The last report in a task's row; None where it has made none."""
    if record.progress is None:
        return None
    document = decode(record.progress)
    return progress_from(document) if isinstance(document, dict) else None


def progress_from(document: Mapping[str, Any]) -> Progress | None:
    """The report that the state of a task is; None of another state.

    Also of one that `update_state(meta={"current": ..., "total": ...})` has made, but that has no time.
    """
    meta = document.get("meta")
    done = meta.get("current") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(done, (int, float)) or isinstance(done, bool):
        return None
    total = meta.get("total")
    total = total if isinstance(total, (int, float)) and not isinstance(total, bool) else None
    at_ms = document.get("at")
    at = from_ms(at_ms) if isinstance(at_ms, int) else None
    return Progress(done, total, str(meta.get("note") or ""), at, _eta_s(done, total, at_ms, document.get("first")))


def _eta_s(done: float, total: float | None, at_ms: Any, first: Any) -> float | None:
    """The seconds that are left, at the pace since the `first` report."""
    if total is None or at_ms is None or not first:
        return None
    if done >= total:
        return 0.0
    first_done, first_ms = first
    if done <= first_done or at_ms <= first_ms:
        return None
    return float((total - done) * (at_ms - first_ms) / (done - first_done) / 1000)
