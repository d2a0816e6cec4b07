"""The first process of a container (PID 1), which the kernel treats like no other: an init of our own.

Processes that tasks leave behind become its children, and stay as zombies until it waits for them; a signal for which
it has no handler is dropped, so that a container that is stopped while its program still imports is killed in the end.
So the first process stays what it is, and does that alone; the program goes on in a child.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

__all__ = ["stay_behind"]

FAULTS = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP})
# A terminal sends these to its whole foreground group: the child has got them already.
OF_A_TERMINAL = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH}
)
SI_KERNEL = 0x80  # asm-generic/siginfo.h: by the kernel, and by no process


def stay_behind() -> None:
    """Where this process is PID 1, fork: the child returns, the first process stays as its init, and ends with it.

    The init hands signals on, and waits for every process that has lost its parent. Its exit code is the child's, 128
    and the number of the signal that ended it. To be called before there are threads or open files.
    """
    if os.getpid() != 1:
        return
    waited = signal.valid_signals() - FAULTS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)  # one that is blocked is not dropped
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    from setproctitle import setproctitle

    setproctitle("liteq: init")
    os._exit(_serve(child, waited))


def _serve(child: int, waited: set[signal.Signals]) -> int:
    """Hand signals on and bury the dead until `child` has ended; the exit code."""
    while True:
        found = signal.sigwaitinfo(waited)
        if found.si_signo == signal.SIGCHLD:
            if (code := _bury(child)) is not None:
                return code
        elif not (found.si_code == SI_KERNEL and found.si_signo in OF_A_TERMINAL):
            with suppress(ProcessLookupError):
                os.kill(child, found.si_signo)


def _bury(child: int) -> int | None:
    """Wait for all that have ended; the exit code of `child` if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended
