"""The boot of this machine: within one, all processes read the same monotonic clock."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["clocks"]


@cache
def clocks() -> str:
    """The boot, and the time namespace, whose monotonic clock this process reads; "" where that is not told."""
    try:
        found = [Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()]
    except OSError:
        return ""
    with suppress(OSError):  # before Linux 5.6 there is none
        found.append(str(Path("/proc/self/ns/time").readlink()))
    return "/".join(found)
