"""Revoked ids and stamps, as a worker remembers them, and the end of a lease that was revoked."""

from __future__ import annotations

import logging
import signal as signals
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet
from collections.abc import Set as AbstractSet
from itertools import takewhile
from typing import Any

from liteq.app.control.replies import stamps_of
from liteq.context import App
from liteq.exceptions import TaskRevokedError
from liteq.execution.lines import about, about_end, name_of
from liteq.execution.shown import announce_revoked, noun_of
from liteq.message import Cancel, Lease
from liteq.serialization import decode, encode_error

__all__ = ["Remembered", "has_stamp", "revoked_outcome", "signal_number"]

logger = logging.getLogger("liteq.worker")


class Remembered(MutableSet[str]):
    """Ids or stamps, each kept for `keep_s` seconds from when it was last added.

    As long as the file keeps them: a worker that runs for months is told of millions.
    """

    def __init__(self, keep_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._monotonic = monotonic
        self._until: dict[str, float] = {}  # those that end first come first

    def add(self, value: str) -> None:
        self._until.pop(value, None)
        self._until[value] = self._monotonic() + self._keep_s

    def discard(self, value: str) -> None:
        self._until.pop(value, None)

    def update(self, values: Iterable[str]) -> None:
        """Add each of `values`."""
        for value in values:
            self.add(value)

    def forget(self) -> None:
        """Drop those whose time is over."""
        now = self._monotonic()
        for value, _ in list(takewhile(lambda item: item[1] <= now, self._until.items())):
            del self._until[value]

    def __contains__(self, value: object) -> bool:
        return value in self._until

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._until))

    def __len__(self) -> int:
        return len(self._until)


def signal_number(name: str | int | None) -> int:
    """`"SIGTERM"`, `"TERM"` or 15 as a number. Raises ValueError for an unknown signal."""
    if isinstance(name, int) or (isinstance(name, str) and name.isdecimal()):
        return int(signals.Signals(int(name)))
    text = (name or "SIGTERM").upper()
    found = getattr(signals, text if text.startswith("SIG") else f"SIG{text}", None)
    if not isinstance(found, signals.Signals):
        raise ValueError(f"unknown signal {name!r}: give a name such as SIGTERM, or a number")
    return int(found)


def has_stamp(lease: Lease, stamps: Mapping[str, AbstractSet[str]]) -> bool:
    """Whether a message has one of these stamps: JSON, by header."""
    if lease.options is None:
        return False
    try:
        own: Mapping[str, Any] = decode(lease.options).get("stamps") or {}
        return any(header in own and not stamps_of(own[header]).isdisjoint(wanted) for header, wanted in stamps.items())
    except (AttributeError, TypeError):  # another program wrote no object there
        return False


def revoked_outcome(
    app: App, lease: Lease, hostname: str, *, terminated: bool, signum: int | None = None, expired: bool = False
) -> Cancel:
    """Cancelled, as `TaskRevokedError`; logged, and sent as the signal `task_revoked`."""
    reason = "terminated" if terminated else "expired" if expired else "revoked"
    extra = {**about(lease, "task.cancelled"), **about_end("cancelled")}
    logger.info("%s %s[%s] %s", noun_of(lease), name_of(lease), lease.id, reason, extra=extra)
    announce_revoked(app, lease, hostname, terminated=terminated, signum=signum, expired=expired)
    return Cancel(encode_error(TaskRevokedError(reason)))
