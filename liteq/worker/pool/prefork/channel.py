"""The way between a parent and a child: a socket for leases and reports, a pipe for permits."""

from __future__ import annotations

import os
import socket

from liteq.utils.records import NamedTuple

__all__ = ["Channel"]


class Channel(NamedTuple):
    """Both ends of the way between a parent and a child."""

    ours: socket.socket
    theirs: socket.socket
    permits_in: int
    permits_out: int

    @classmethod
    def open(cls) -> Channel:
        """Open both ends. Raises OSError when no descriptor is left."""
        ours, theirs = socket.socketpair()
        try:
            return cls(ours, theirs, *os.pipe())
        except OSError:
            ours.close()
            theirs.close()
            raise

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        os.close(self.permits_in)
        os.close(self.permits_out)

    def keep_ours(self) -> None:
        """In the parent. It keeps the pipe's reading end too: reading it takes a permit back."""
        self.theirs.close()
        self.ours.setblocking(False)
        os.set_blocking(self.permits_in, False)

    def keep_theirs(self) -> None:
        """In the child."""
        self.ours.close()
        os.close(self.permits_out)
        os.set_blocking(self.permits_in, False)
