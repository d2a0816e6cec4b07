"""How much memory a process has now."""

from __future__ import annotations

import os
import resource
import sys

__all__ = ["resident_kib"]

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
