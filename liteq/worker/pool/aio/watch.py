"""A look at the loop from outside: one that stands still is named, with the task and the line that hold it up."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from liteq.message import Lease

__all__ = ["STANDS_S", "Watch"]

logger = logging.getLogger("liteq.worker")

LOOK_S = 0.25  # between two looks, while the child has something to run
STANDS_S = 1.0  # a loop that answers nothing for so long stands still
AGAIN_S = 30.0  # until a loop that still stands is named again
OWN = ("asyncio", "liteq", "selectors", "threading", "contextvars")


class Watch:
    """A thread that asks the loop again and again to answer, and says so where it does not.

    `in_step()` is the lease whose coroutine takes a step, as far as it is known.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, in_step: Callable[[], Lease | None]) -> None:
        self._loop = loop
        self._in_step = in_step
        self._busy = threading.Event()
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._watched = threading.get_ident()
        threading.Thread(target=self._look, name="liteq-watch", daemon=True).start()

    def busy(self, something_runs: bool) -> None:
        """Look while `something_runs`."""
        if something_runs:
            self._busy.set()
        else:
            self._busy.clear()

    def end(self) -> None:
        """Look no more: the loop has nothing left to run, and answers nobody."""
        self._ended.set()
        self._busy.set()
        self._answered.set()

    def _look(self) -> None:
        while self._busy.wait() and not self._ended.is_set():
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(STANDS_S) and not self._ended.is_set():
                self._tell()
            self._ended.wait(LOOK_S)

    def _tell(self) -> None:
        """Name what holds the loop up, until it goes on."""
        since = time.monotonic() - STANDS_S
        while True:
            lease, frame = self._in_step(), sys._current_frames().get(self._watched)
            what = "a callback" if lease is None else f"{lease.task}[{lease.id}]"
            named = {} if lease is None else {"task_name": lease.task, "task_id": lease.id}
            text = "the event loop of process %d stands still for %.1f s, at %s of %s: nothing else runs there; %s"
            advice = "await it, or move what blocks into a thread (asyncio.to_thread)"
            stood_s = time.monotonic() - since
            logger.error(
                text, os.getpid(), stood_s, _place(frame), what, advice, extra={"event": "loop.stuck", **named}
            )
            if self._answered.wait(AGAIN_S):
                logger.warning("the event loop goes on, after %.1f s of %s", time.monotonic() - since, what)
                return


def _place(frame: FrameType | None) -> str:
    """The line of the user's own code that is being executed, as `file:line in function()`.

    The task's, not that of a library which it calls: the first one below the code of `OWN`.
    """
    place, theirs = frame, None
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in OWN:
            theirs = frame
        elif theirs is not None:
            break
        frame = frame.f_back
    place = theirs or place
    if place is None:
        return "an unknown place"
    return f"{place.f_code.co_filename}:{place.f_lineno} in {place.f_code.co_qualname}()"
