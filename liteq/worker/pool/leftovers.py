"""An alarm or a thread that a task leaves running in its process, and that may end it under another task."""

from __future__ import annotations

import logging
import signal
import threading

from liteq.message import Lease

__all__ = ["Leftovers"]

logger = logging.getLogger("liteq.worker")

SHOWN = 5  # threads that are named


class Leftovers:
    """Looks, after a task of a process that executes one at a time, for what it has left behind.

    An alarm is cancelled. A thread cannot be: `text` names those that are there and the tasks that left them, "" for
    none. What was there before the first task is nobody's. Of several very short tasks the last is named.
    """

    def __init__(self) -> None:
        self.text = ""
        self._before = set(threading.enumerate())
        self._count = threading.active_count()
        self._left: dict[threading.Thread, str] = {}
        # In a thread of another program, the process's timer is that program's.
        here = threading.current_thread() is threading.main_thread()
        self._has_timer = here and hasattr(signal, "getitimer")
        self._timed = self._has_timer and signal.getitimer(signal.ITIMER_REAL)[0] > 0

    def look(self, lease: Lease) -> bool:
        """See what the task of `lease` has left; whether `text` is another now."""
        if self._has_timer and not self._timed and signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)
            logger.warning("%s[%s] left an alarm behind: it is cancelled", lease.task, lease.id)
        if threading.active_count() == self._count:
            return False
        self._count = threading.active_count()
        now = [thread for thread in threading.enumerate() if thread not in self._before]
        self._left = {thread: self._left.get(thread, f"{lease.task}[{lease.id}]") for thread in now}
        named = [f"{thread.name!r} of {task}" for thread, task in self._left.items()][:SHOWN]
        self.text = f"; threads that tasks before it had left there: {', '.join(named)}" if named else ""
        return True
