"""Reports of trouble that may last: told once, and again after a while, but not at every attempt."""

from __future__ import annotations

import logging
import time

__all__ = ["Repeated"]

AGAIN_S = 30.0  # between two reports of one trouble


class Repeated:
    """Reports to `logger`."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._again_at: dict[str, float] = {}  # by trouble

    def report(self, level: int, text: str) -> None:
        """Log `text`, unless that was done a moment ago."""
        now, kind = time.monotonic(), text[:80]  # the figures, which differ each time, are further behind
        if now >= self._again_at.get(kind, 0.0):
            self._again_at[kind] = now + AGAIN_S
            self._logger.log(level, "%s", text)
