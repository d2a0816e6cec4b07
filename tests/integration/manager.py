"""A service manager: the socket to which a process notifies, and what it has heard."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Manager"]


class Manager:
    """Listens in `folder`. `env` is what it hands to a process; `watchdog_s`: as WatchdogSec= of a unit."""

    def __init__(self, folder: Path, *, watchdog_s: float | None = None, name: str = "notify") -> None:
        path = folder / name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.env = {"NOTIFY_SOCKET": str(path)}
        if watchdog_s is not None:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.heard: list[tuple[float, str]] = []  # lines, with their monotonic times

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def listen(self, for_s: float) -> None:
        """Hear what comes within `for_s` seconds; back at the first message, or when the time is over."""
        if select.select([self._socket], [], [], max(0.0, for_s))[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    text = self._socket.recv(4096, socket.MSG_DONTWAIT).decode()
                    self.heard += [(time.monotonic(), line) for line in text.split("\n")]

    def wait(self, beginning: str, *, times: int = 1, within_s: float = 60.0) -> str:
        """Until `times` lines with this beginning have been heard; the last of them."""
        give_up = time.monotonic() + within_s
        while len(found := self.lines(beginning)) < times:
            left_s = give_up - time.monotonic()
            assert left_s > 0, f"not heard within {within_s} s: {beginning}; heard: {[line for _, line in self.heard]}"
            self.listen(left_s)
        return found[-1]

    def lines(self, beginning: str) -> list[str]:
        return [line for _, line in self.heard if line.startswith(beginning)]

    def forget(self) -> None:
        """Forget what was heard so far."""
        self.listen(0.0)
        self.heard.clear()
