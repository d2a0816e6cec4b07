"""A proxy that loses answers: of the requests that reach the gateway some are done, and their callers never know."""

from __future__ import annotations

import random
import selectors
import socket
import threading
from contextlib import suppress

__all__ = ["LossyProxy"]

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class LossyProxy:
    """Passes connections on to `port`. `loses`: the part of the answers that are dropped, `refuses`: of the requests
    that it answers itself, with 503.

    `cut()` ends all connections and takes no more, until `mend()`.
    """

    def __init__(self, port: int, *, loses: float, seed: int, refuses: float = 0.0) -> None:
        self.target = port
        self._loses = loses
        self._refuses = refuses
        self._random = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.lost = 0
        self.refused = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cut = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """No network: what is open breaks, and nothing new is let through."""
        with self._lock:
            self._cut = True
            for one in list(self._open):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """The network is there again."""
        self._cut = False

    def close(self) -> None:
        self.cut()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(60)

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listening.accept()
            except OSError:
                return
            if self._cut:
                ours.close()
                continue
            threading.Thread(target=self._pass_on, args=(ours,), daemon=True).start()

    def _pass_on(self, ours: socket.socket) -> None:
        """Pass both ways; the answer to each request may be lost, and the connection with it."""
        try:
            theirs = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            ours.close()
            return
        with self._lock:
            self._open |= {ours, theirs}
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ours, selectors.EVENT_READ, theirs)
                selector.register(theirs, selectors.EVENT_READ, ours)
                self._until_one_ends(selector, theirs)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open -= {ours, theirs}
            ours.close()
            theirs.close()

    def _until_one_ends(self, selector: selectors.BaseSelector, theirs: socket.socket) -> None:
        while True:
            for key, _ in selector.select(30):
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if not data:
                    return
                if key.fileobj is theirs and self._random.random() < self._loses:
                    self.lost += 1
                    return
                if key.data is theirs and self._random.random() < self._refuses:
                    self.refused += 1
                    key.fileobj.sendall(BUSY)  # type: ignore[union-attr]
                    return
                key.data.sendall(data)
