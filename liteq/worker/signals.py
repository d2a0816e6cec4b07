"""The meaning of signals to a worker. Handlers only note a signal; the loop acts on it.

- TERM: finish the running tasks, return leases that have not started, leave.
- INT: as TERM; a second one as QUIT.
- QUIT: stop the running tasks, return every lease to the queue, leave; after
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

__all__ = ["Demand", "SignalQueue"]


class Demand(Enum):
    """The demand that a signal makes on the worker."""

    WARM = "finish the running tasks, then leave"
    COLD = "leave at once"
    GROW = "one executor more"
    SHRINK = "one executor less"


MEANING = {
    "SIGTERM": Demand.WARM,
    "SIGINT": Demand.WARM,
    "SIGHUP": Demand.WARM,
    "SIGQUIT": Demand.COLD,
    "SIGTTIN": Demand.GROW,
    "SIGTTOU": Demand.SHRINK,
}


ENDS = frozenset({Demand.WARM, Demand.COLD})


class SignalQueue:
    """The signals that have come, as demands, and a descriptor that is readable when one has.

    Outside the main thread no signal is caught; `put` is for a stop from another thread.
    """

    def __init__(self) -> None:
        self.name = "SIGTERM"  # of the signal that made the demand which was taken last
        self._demands: deque[tuple[Demand, str]] = deque()
        self._before: dict[int, Any] = {}
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._interrupted = False

    def install(self) -> None:
        """Catch the signals of the table, where this thread may; once."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for name in MEANING:
            signum = getattr(signal, name, None)  # Windows has few of them
            if signum is None or (name == "SIGHUP" and signal.getsignal(signum) is signal.SIG_IGN):
                continue
            self._before[signum] = signal.signal(signum, self._note)
        if hasattr(signal, "SIGCHLD") and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # The process that started this one ignores it: the kernel would throw away our children's exit statuses.
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

    def put(self, demand: Demand) -> None:
        """Ask from any thread."""
        self._demands.append((demand, "SIGQUIT" if demand is Demand.COLD else "SIGTERM"))
        try:
            self._theirs.send(b"\0")
        except OSError:
            pass  # the worker is gone already, or is awake anyway

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        demand = MEANING[name]
        if signum == signal.SIGTERM and os.environ.get("REMAP_SIGTERM") == "SIGQUIT":
            demand = Demand.COLD
        if signum == signal.SIGINT:
            if self._interrupted:
                demand = Demand.COLD
            self._interrupted = True
        self._demands.append((demand, name))

    def clear(self) -> None:
        """Empty the descriptor; called by the loop when it is readable."""
        try:
            while self._ours.recv(4096):
                pass
        except OSError:
            pass

    def ends(self) -> bool:
        """Whether an end is among the demands that nobody has taken yet. From any thread."""
        return any(demand in ENDS for demand, _ in tuple(self._demands))

    def take(self) -> Demand | None:
        """The next demand; None when there is none."""
        if not self._demands:
            return None
        demand, self.name = self._demands.popleft()
        return demand
