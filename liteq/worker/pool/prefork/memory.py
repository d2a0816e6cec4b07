"""How much memory a process has now, and memory that processes share by a descriptor."""

from __future__ import annotations

import os
import resource
import sys

__all__ = ["resident_kib", "shared_file"]

STATM = "/proc/self/statm"
KIB_A_PAGE = resource.getpagesize() // 1024


def resident_kib() -> int:
    """The memory of this process that is resident now, in KiB; its peak so far where the system tells no more."""
    try:
        fd = os.open(STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
        return peak // 1024 if sys.platform == "darwin" else peak
    try:
        return int(os.read(fd, 128).split()[1]) * KIB_A_PAGE
    finally:
        os.close(fd)


def shared_file(name: str, content: bytes) -> int:
    """The descriptor of a file without a place in any folder that holds `content`. Raises OSError."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(name)
    else:
        import tempfile  # where there is no better way

        with tempfile.TemporaryFile(prefix=name) as file:
            fd = os.dup(file.fileno())
    os.truncate(fd, len(content))
    os.pwrite(fd, content, 0)
    return fd
