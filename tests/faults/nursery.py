"""Forks the processes of a drill: a worker is there in some 20 ms, where a new interpreter takes half a second.

Whatever is killed is a process group of its own, which has run nothing yet when it is forked: it imports the app, opens
the file and forks its children by itself. So thousands of kills fit into an hour.

`Nursery` is the test's side. The other, `python -m tests.faults.nursery`, answers one line of JSON with another.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Nursery", "Process"]


class Process(Protocol):
    """The part of a process that a drill needs; `subprocess.Popen` has it too."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


class Nursery:
    """A process that forks others. One caller at a time. `within`: a command that is given another to run."""

    def __init__(self, env: dict[str, str], within: Sequence[str] = ()) -> None:
        root = Path(__file__).resolve().parents[2]
        command = [*within, sys.executable, "-m", "tests.faults.nursery"]
        self._server = subprocess.Popen(
            command, cwd=root, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, args: list[str], env: dict[str, str], cwd: Path, out: Path, err: Path) -> Process:
        """As `python *args` with its output appended to two files; `args` begin with "-m module" or a script's path."""
        out.touch()
        pid = self._ask({"args": args, "env": env, "cwd": str(cwd), "out": str(out), "err": str(err)})
        assert pid is not None
        return _Forked(self, pid)

    def status(self, pid: int) -> int | None:
        """How `pid` has ended, as `Popen.returncode`; None while it lives. Not to be asked again once it has."""
        return self._ask({"pid": pid})

    @property
    def pid(self) -> int:
        """The process; with `within`, that of the outer command."""
        return self._server.pid

    def close(self) -> None:
        self._server.communicate()

    def _ask(self, question: dict[str, Any]) -> int | None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        answer: int | None = json.loads(self._server.stdout.readline())
        return answer


class _Forked:
    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._nursery.status(self.pid)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (timeout or 3600.0)
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            time.sleep(0.001)
        return status

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


# -- the other side --------------------------------------------------------------------------------------------------


def become(args: list[str], env: dict[str, str], cwd: str, out: str, err: str) -> None:
    """Turn the forked process into what `python *args` would be."""
    os.setpgid(0, 0)
    for path, fd in ((out, 1), (err, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # likewise
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [folder for folder in env["PYTHONPATH"].split(os.pathsep) if folder not in sys.path]
    if args[0] == "-m":
        sys.argv = [args[1], *args[2:]]
        runpy.run_module(args[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = args
        runpy.run_path(args[0], run_name="__main__")


def serve() -> None:
    import liteq.cli.processes.worker
    import liteq.worker.worker  # noqa: F401 - what a worker needs, imported once

    # A shell has what it starts in the background ignore it: one that comes right after the fork was lost otherwise.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    while line := sys.stdin.readline():
        question = json.loads(line)
        if "pid" in question:
            pid, status = os.waitpid(question["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                become(**question)
                return
            with contextlib.suppress(OSError):  # on both sides: whoever is told the PID may kill the group at once
                os.setpgid(answer, answer)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
