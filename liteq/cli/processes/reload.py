"""`liteq worker --reload`, for development: a worker that is started again when the code changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from liteq.cli.parts.session import Session
from liteq.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from watchfiles.main import FileChange

__all__ = ["run"]

FLAG = "--reload"
LOOK_MS = 200  # between two looks whether the worker has ended by itself
FORWARDED = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP")


def run(session: Session) -> int:
    """Run this process's own command line as a child, without --reload, and again after each change of a .py file.

    Watched is the working directory, with all below it. A worker is ended warm: what runs is finished first. One that
    ended by itself, of a mistake in the code say, is started again at the next change. Returns its exit code.

    Raises ImproperlyConfigured where watchfiles is not installed.
    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise ImproperlyConfigured("--reload needs watchfiles: pip install watchfiles") from None
    stop = threading.Event()
    worker = _Worker(session, stop)

    def forward(signum: int, _frame: FrameType | None) -> None:
        stop.set()
        worker.send(signum)

    for name in FORWARDED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), forward)
    changes = watch(
        Path.cwd(), watch_filter=PythonFilter(), stop_event=stop, rust_timeout=LOOK_MS, yield_on_timeout=True,
        raise_interrupt=False,
    )  # fmt: skip
    next(changes, None)  # it watches from here on: what changes while the worker starts is not missed
    worker.start()
    for changed in changes:
        if changed and not stop.is_set():
            session.note(f"{_names(changed)} changed: starting the worker again")
            worker.restart()
        else:
            worker.tell_end()
    return worker.wait()


class _Worker:
    """The worker as a child, in a process group of its own: Ctrl-C reaches it once, by way of this process.

    Once a signal has set `stop`, none is started any more.
    """

    def __init__(self, session: Session, stop: threading.Event) -> None:
        self._session = session
        self._stop = stop
        self._command = [sys.executable, *(word for word in sys.orig_argv[1:] if word != FLAG)]
        self._process: subprocess.Popen[bytes] | None = None
        self._told = False

    def start(self) -> None:
        if self._stop.is_set():
            return
        group = {"process_group": 0} if os.name == "posix" else {}
        # Bytecode tells sources apart by the second and the size: a quick change of one sign would run the old one.
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(self._command, cwd=self._session.started_in, env=env, **group)  # type: ignore[call-overload]
        self._told = False
        if self._stop.is_set():  # set just now: the signal came too early for this process
            self.send(signal.SIGTERM)

    def restart(self) -> None:
        self.send(signal.SIGTERM)
        self.wait()
        self.start()

    def send(self, signum: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signum)

    def wait(self) -> int:
        return 0 if self._process is None else self._process.wait()

    def tell_end(self) -> None:
        """Say once that the worker has ended by itself."""
        if self._process is not None and self._process.poll() is not None and not self._told:
            self._told = True
            self._session.note(f"the worker ended with {self._process.returncode}: waiting for the code to change")


def _names(changed: Iterable[FileChange]) -> str:
    return ", ".join(sorted({Path(path).name for _, path in changed}))
