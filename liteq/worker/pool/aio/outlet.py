"""The child's end of the socket for reports: nothing that sends one waits, and a thread may send one too."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Any

from liteq.worker.pool.prefork import wire

__all__ = ["Outlet"]


class Outlet:
    """Sends frames of reports over `sock`, which does not block; what it does not take is sent when it does."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._lock = threading.Lock()
        self._rest = bytearray()
        self._waits = False  # for the socket to take more

    def send(self, reports: list[tuple[Any, ...]]) -> None:
        """Send `reports`, in one frame. Of any thread."""
        with self._lock:
            self._rest += wire.frame(reports)
            self._flush()

    def _flush(self) -> None:
        try:
            while self._rest:
                del self._rest[: self._sock.send(self._rest)]
        except BlockingIOError:
            if not self._waits:
                self._waits = True
                self._loop.call_soon_threadsafe(self._loop.add_writer, self._sock, self._writable)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(1)  # the parent is gone: its leases are released by others, no process wants this report

    def drain(self) -> None:
        """Send what is left, and wait for that; the last call."""
        with self._lock:
            self._sock.setblocking(True)
            self._flush()

    def _writable(self) -> None:
        with self._lock:
            self._loop.remove_writer(self._sock)
            self._waits = False
            self._flush()
