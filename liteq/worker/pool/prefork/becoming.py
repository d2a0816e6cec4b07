"""How a process becomes a child of a worker, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from typing import Any

from setproctitle import setproctitle

from liteq import signals as announce

__all__ = ["PARENT_S_SIGNALS", "become_child", "die_with_parent", "flush_output", "leave", "leave_signals_to_parent"]

PARENT_S_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)


def become_child(parent: int, title: str, name: str) -> None:
    """Make this process a child of `parent`: its title, its name in logs, its signals; it ends with `parent`."""
    setproctitle(title)
    _name_in_logs(name)
    leave_signals_to_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _leave_the_terminal()
    # Processes that a task forks are the task's: it ends them by SIGTERM (multiprocessing does), Ctrl-C ends them too.
    os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_restore_signals)
    die_with_parent(parent)


def leave_signals_to_parent() -> None:
    """Do nothing at the signals that end a worker.

    A terminal's Ctrl-C and a service manager's stop reach the whole group, but only the parent acts on them. Handlers
    that do nothing, not SIG_IGN: that would be inherited by programs which a task starts.
    """
    for signum in PARENT_S_SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:  # HUP under nohup: for those programs too
            signal.signal(signum, _nothing)


def _leave_the_terminal() -> None:
    """Put /dev/null in the place of stdin, as multiprocessing does.

    The kernel stops a process that reads a terminal of another one (SIGTTIN), and all children with it.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # there is none, or it is no file
        if sys.stdin.fileno() == 0:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)


_blocked = threading.local()


def _block_signals() -> None:
    """Keep a signal that comes right after a fork, so that it meets the handlers which the new process is to have."""
    _blocked.mask = signal.pthread_sigmask(signal.SIG_BLOCK, PARENT_S_SIGNALS)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.mask)


def _restore_signals() -> None:
    if threading.current_thread() is threading.main_thread():  # the thread that forked is the child's main thread
        for signum in (*PARENT_S_SIGNALS, signal.SIGURG):
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _unblock_signals()


def _name_in_logs(name: str) -> None:
    """Give this process's log records Celery's name for it, `ForkPoolWorker-1`, where logging has only MainProcess."""
    make = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if record.processName == "MainProcess":
            record.processName = name
        return record

    logging.setLogRecordFactory(factory)


def _nothing(_signum: int, _frame: object) -> None:
    pass


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, so that no orphan runs a task beside another worker.

    Linux only; elsewhere the child ends when it next reads its pipe.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def leave(status: int) -> None:
    """End the process without the parent's clean-up: its atexit handlers and buffers are not this process's."""
    with contextlib.suppress(Exception):
        announce.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=status)
        logging.shutdown()
    flush_output()
    os._exit(status)


def flush_output() -> None:
    """Write out buffered output: each forked copy would write it again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # there is none, it is closed, or its reader has gone
            stream.flush()
