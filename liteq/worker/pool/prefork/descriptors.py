"""File descriptors: enough for the children, and some kept for the worker itself."""

from __future__ import annotations

import errno
import os
import resource

__all__ = ["make_room"]

PER_CHILD = 4  # its socket, both ends of the pipe of its permits, and the descriptor of its process
KEPT = 32  # the database with its log, readers, bells; the log file; what a task's result needs to be written


def make_room() -> None:
    """Raise this process's soft limit if one more child needs that. Raises OSError where the hard one is in the way."""
    try:
        used = sum(1 for _ in os.scandir("/dev/fd"))
    except OSError:
        return  # it cannot be told: the system will say
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = used + PER_CHILD + KEPT
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise OSError(
            errno.EMFILE,
            f"{used} of {hard} file descriptors are in use, a child takes {PER_CHILD} and the worker keeps {KEPT} for "
            "itself: raise the limit (ulimit -n, LimitNOFILE=), or lower --concurrency",
        )
    more = max(2 * soft, needed)  # not for each child anew
    resource.setrlimit(resource.RLIMIT_NOFILE, (more if hard == resource.RLIM_INFINITY else min(more, hard), hard))
