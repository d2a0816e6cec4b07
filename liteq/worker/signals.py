"""What signals mean to a worker. Handlers only note that one came; the loop does what it says.

- TERM: finish what runs, return what has not started, leave.
- INT: as TERM; a second one as QUIT.
- QUIT: stop what runs, all of it goes back to the queue, leave; after
  `worker_soft_shutdown_timeout`, where that is set.
- HUP: as TERM; ignored where the process was started that way (nohup).
- TTIN, TTOU: one executor more, one less.

With REMAP_SIGTERM=SIGQUIT in the environment TERM is as QUIT, for platforms that send only TERM, and soon KILL.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from enum import Enum
from types import FrameType
from typing import Any

__all__ = ["Request", "SignalQueue"]


class Request(Enum):
    """What a signal asks of the worker."""

    WARM = "finish what runs, then leave"
    COLD = "leave at once"
    GROW = "one executor more"
    SHRINK = "one executor less"


MEANING = {
    "SIGTERM": Request.WARM,
    "SIGINT": Request.WARM,
    "SIGHUP": Request.WARM,
    "SIGQUIT": Request.COLD,
    "SIGTTIN": Request.GROW,
    "SIGTTOU": Request.SHRINK,
}


class SignalQueue:
    """The signals that have come, as requests, and a descriptor that is readable when one has.

    Outside the main thread no signal is caught; `put` serves whoever stops the worker from another thread.
    """

    def __init__(self) -> None:
        self._requests: deque[Request] = deque()
        self._before: dict[int, Any] = {}
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._interrupted = False

    def install(self) -> None:
        """Catch the signals of the table, where this thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for name in MEANING:
            signum = getattr(signal, name, None)  # Windows has few of them
            if signum is None or (name == "SIGHUP" and signal.getsignal(signum) is signal.SIG_IGN):
                continue
            self._before[signum] = signal.signal(signum, self._note)
        if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # Whoever started this process ignores it: the kernel would throw away how our children end.
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        if self._before:
            signal.set_wakeup_fd(-1)
            for signum, handler in self._before.items():
                signal.signal(signum, handler)
            self._before.clear()
        self._ours.close()
        self._theirs.close()

    def fileno(self) -> int:
        return self._ours.fileno()

    def put(self, request: Request) -> None:
        """Ask from any thread."""
        self._requests.append(request)
        try:
            self._theirs.send(b"\0")
        except OSError:
            pass  # the worker is gone already, or is awake anyway

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        request = MEANING[signal.Signals(signum).name]
        if signum == signal.SIGTERM and os.environ.get("REMAP_SIGTERM") == "SIGQUIT":
            request = Request.COLD
        if signum == signal.SIGINT:
            if self._interrupted:
                request = Request.COLD
            self._interrupted = True
        self._requests.append(request)

    def clear(self) -> None:
        """Empty the descriptor; called by the loop when it is readable."""
        try:
            while self._ours.recv(4096):
                pass
        except OSError:
            pass

    def take(self) -> Request | None:
        """The next request; None when there is none."""
        return self._requests.popleft() if self._requests else None
