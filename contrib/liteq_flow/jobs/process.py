"""One command: a process group of its own, its output as it comes, ended at its timeout or with its run."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liteq_flow.jobs.guard import Guard

__all__ = ["Ended", "run_command"]

LOOK_S = 0.2  # how often it is looked at whether the command has ended
ASK_S = 1.0  # ... and whether its run was cancelled: a read of the file each
KILL_S = 5.0  # after SIGTERM, until SIGKILL
DRAIN_S = 0.5  # of silence, behind the end of the command, until what still holds its output is not listened to
PIECE = 64 * 1024

Take = Callable[[str, bytes], None]
"""Takes a piece of output, of "stdout" or "stderr"."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a command. `exit_code`: as a shell tells it, 128 and the signal's number where one has ended it."""

    exit_code: int
    timed_out: bool = False
    cancelled: bool = False


class Command:
    """A command that runs. `deadline`: of `time.monotonic`; None: it may take for ever."""

    def __init__(self, process: subprocess.Popen[bytes], deadline: float | None, take: Take) -> None:
        self.process, self.deadline, self.take = process, deadline, take
        self.selector = selectors.DefaultSelector()
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, selectors.EVENT_READ, name)

    def left_s(self) -> float | None:
        """Seconds until its timeout; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def listen(self, seconds: float) -> bool:
        """Take what is written within `seconds`; whether anything was."""
        if not self.selector.get_map():
            if seconds:
                time.sleep(min(seconds, LOOK_S / 10))
            return False
        heard = False
        for key, _ in self.selector.select(seconds):
            pipe: Any = key.fileobj
            try:
                piece = os.read(pipe.fileno(), PIECE)
            except BlockingIOError:
                continue
            if not piece:
                self.selector.unregister(pipe)
                continue
            heard = True
            self.take(key.data, piece)
        return heard

    def until_end(self, cancelled: Callable[[], bool]) -> str:
        """Listen until it has ended, or has to: "", "timeout" or "cancel"."""
        asked = time.monotonic()
        while self.process.poll() is None:
            left = self.left_s()
            if left == 0.0:
                return "timeout"
            self.listen(LOOK_S if left is None else min(LOOK_S, left))
            if time.monotonic() - asked >= ASK_S:
                asked = time.monotonic()
                if cancelled():
                    return "cancel"
        return ""

    def stop(self) -> None:
        """End its process group: SIGTERM, then SIGKILL."""
        signal_group(self.process.pid, signal.SIGTERM)
        patience = time.monotonic() + KILL_S
        while self.process.poll() is None and time.monotonic() < patience:
            self.listen(LOOK_S)
        signal_group(self.process.pid, signal.SIGKILL)  # with those that the shell has left
        self.process.wait()

    def drain(self) -> None:
        """Take what is written still. What it left behind may hold the pipes for ever: it is not waited for."""
        quiet = time.monotonic() + DRAIN_S
        while self.selector.get_map() and time.monotonic() < quiet and self.left_s() != 0.0:
            if self.listen(DRAIN_S / 5):
                quiet = time.monotonic() + DRAIN_S

    def close(self) -> None:
        self.selector.close()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, where there is one still."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def run_command(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: str, timeout_s: float | None, take: Take,
    cancelled: Callable[[], bool],
) -> Ended:  # fmt: skip
    """Run `argv` to its end. Raises OSError where it cannot be started."""
    process = subprocess.Popen(
        list(argv), env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    command, guard = Command(process, deadline, take), None
    try:
        guard = Guard(process.pid)
        why = command.until_end(cancelled)
        if why:
            command.stop()
        command.drain()
    except BaseException:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        command.close()
        if guard is not None:
            guard.release(command.left_s())
    code = process.returncode
    return Ended(128 - code if code < 0 else code, timed_out=why == "timeout", cancelled=why == "cancel")
