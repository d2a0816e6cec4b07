"""Signals at a chosen line of a worker's parent: `DRILL_TRIPWIRE="SIGTERM@120,SIGQUIT@180"`.

The lines of `liteq/worker/` that the parent executes are counted; at the n-th the signal is sent to the process, or to
its whole group (`SIGTERM@120!`), as a terminal and a service manager do. At its end the process leaves the count in the
file `DRILL_LINES`.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import liteq.worker

__all__ = ["install"]

TRACED = str(Path(liteq.worker.__file__).parent)


class Tripwire:
    """Counts lines; sends what is due."""

    def __init__(self, plan: str) -> None:
        self.pid = os.getpid()
        self.lines = 0
        self.due: list[tuple[int, int, bool]] = []
        for item in filter(None, plan.split(",")):
            name, _, at = item.partition("@")
            self.due.append((int(at.rstrip("!")), getattr(signal, name), at.endswith("!")))
        self.due.sort()

    def trace(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if os.getpid() != self.pid:  # in a child
            sys.settrace(None)
            return None
        if event == "call":
            return self.trace if frame.f_code.co_filename.startswith(TRACED) else None
        if event == "line":
            self.lines += 1
            while self.due and self.lines >= self.due[0][0]:
                _, signum, whole_group = self.due.pop(0)
                (os.killpg if whole_group else os.kill)(self.pid, signum)
        return self.trace

    def leave(self) -> None:
        sys.settrace(None)  # the interpreter is about to take its modules apart
        if os.getpid() == self.pid:
            Path(os.environ["DRILL_LINES"]).write_text(str(self.lines))


def install() -> None:
    """Start to count, where the environment asks for it."""
    plan = os.environ.get("DRILL_TRIPWIRE")
    if plan is None:
        return
    tripwire = Tripwire(plan)
    atexit.register(tripwire.leave)
    sys.settrace(tripwire.trace)
