"""The tasks of the drill, for an app of Celery's and one of liteq's: each notes first that it begins, and where.

A line of the ledger: what happens, the id, the wall clock's milliseconds, the process, and what it was given.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

__all__ = ["SHARED", "body", "broken", "note", "step"]

LEDGER = os.environ.get("DRILL_LEDGER", os.devnull)


def note(what: str, id_: str, given: Any = None) -> None:
    """Add a line: one write, which no kill cuts."""
    line = json.dumps([what, id_, time.time_ns() // 1_000_000, os.getpid(), given]) + "\n"
    out = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(out, line.encode())
    finally:
        os.close(out)


def step(self: Any, n: int) -> int:
    """One more."""
    note("step", self.request.id, n)
    time.sleep(0.01)
    return n + 1


def body(self: Any, found: list[Any]) -> list[Any]:
    """Of a chord: what it was given. It takes long enough to be killed in."""
    note("body", self.request.id, found)
    time.sleep(0.05)
    return found


def broken(self: Any, *_args: Any) -> None:
    """A failure of its own, and not by a kill."""
    note("broken", self.request.id)
    raise KeyError("no such crate")


SHARED = {"drill.step": step, "drill.body": body, "drill.broken": broken}
