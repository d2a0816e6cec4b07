"""The service manager's notifications (systemd's sd_notify): this process is ready, its loop turns, it stops.

The address is in the environment, and is taken out of it: a program that a task starts is not to speak for this one.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, MutableMapping

from liteq.utils.text import printable

__all__ = ["ServiceManager"]

OFTEN = 3  # signs of life in a watchdog's time: one that is late, or lost, ends no process


class ServiceManager:
    """The manager that started this process, at the socket `address`.

    `watchdog_s`: it ends the process when it has heard no `alive()` for so long; None: it does not watch. No method
    raises, and none waits: a manager that does not listen is no reason to stop working.
    """

    def __init__(
        self, address: str, *, watchdog_s: float | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._monotonic = monotonic
        self._told = ""
        self.interval_s = None if watchdog_s is None else watchdog_s / OFTEN
        self._alive_at = float("-inf")

    @classmethod
    def take(cls, environ: MutableMapping[str, str] = os.environ) -> ServiceManager | None:
        """The manager that `environ` names, and which it names no more; None where there is none."""
        address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            return None
        watches = microseconds.isdecimal() and int(microseconds) > 0 and pid in {"", str(os.getpid())}
        return cls(address, watchdog_s=int(microseconds) / 1e6 if watches else None)

    def ready(self, status: str) -> None:
        """Say that the process has started, and what it does."""
        self._told = status
        self._send("READY=1", f"STATUS={printable(status)}")

    def stopping(self, status: str) -> None:
        """Say that the process has begun to end."""
        self._told = status
        self._send("STOPPING=1", f"STATUS={printable(status)}")

    def status(self, status: str) -> None:
        """Say what the process does, for `systemctl status`; nothing is sent where that is as before."""
        if status != self._told:
            self._told = status
            self._send(f"STATUS={printable(status)}")

    def alive(self) -> None:
        """Say that the process is not stuck; may be called as often as one likes."""
        if self.interval_s is not None and (now := self._monotonic()) >= self._alive_at + self.interval_s:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        try:  # a socket for each: none is there when a process forks
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass
