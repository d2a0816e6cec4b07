"""`billiard`'s one addition to multiprocessing: the place of this process among those of its worker."""

from __future__ import annotations

import logging
import multiprocessing
from multiprocessing.process import BaseProcess

__all__ = ["VERSION", "current_process"]

VERSION = (4, 3, 2)
"""The billiard whose names are there."""


def current_process() -> BaseProcess:
    """As multiprocessing's; in a process of a worker its `index` counts from 0, and its name is that of the log."""
    process = multiprocessing.current_process()
    name = logging.makeLogRecord({}).processName or ""  # a worker's processes have names in the log alone
    kind, _, number = name.rpartition("-")
    if kind == "ForkPoolWorker" and number.isdecimal():
        process.name = name
        process.index = int(number) - 1  # type: ignore[attr-defined]
    return process
