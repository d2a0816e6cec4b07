"""The identity of a worker process, by which another process can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4

from liteq.message import WorkerIdentity

__all__ = ["boot_id", "expand_name", "is_dead", "me", "nth_name", "start_time"]


def expand_name(name: str | None) -> str:
    """A worker's name: `liteq@host` by default; in `name`, `%h` is the host, `%n` its first label, `%d` the rest."""
    host = socket.gethostname()
    if not name:
        return f"liteq@{host}"
    label, _, domain = host.partition(".")
    name = name.replace("%h", host).replace("%n", label).replace("%d", domain)
    return name if "@" in name else f"{name}@{host}"


def nth_name(name: str, n: int) -> str:
    """The name of the n-th worker that was started as `name`: `liteq@host`, then `liteq-2@host`, `liteq-3@host`."""
    label, _, host = name.partition("@")
    return name if n == 1 else f"{label}-{n}@{host}"


@cache
def boot_id() -> str:
    """The boot of this machine and the PID namespace in which PIDs mean something; "" where the platform tells neither.

    Containers that share the file have the boot id in common and PIDs of their own: hence the namespace.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """When `pid` was started, in the kernel's clock ticks since boot: tells a PID from its reuse. "" once it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    # Fields 3 and 22 (proc(5)); the command's name, field 2, may hold anything, also blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended, whenever its parent comes to notice: some containers have an init that never does.
    return "" if fields[0] in {"Z", "X"} else fields[19]


def me(name: str) -> WorkerIdentity:
    """The identity of this process, as the worker called `name`."""
    pid = os.getpid()
    return WorkerIdentity(uuid4().hex, name, socket.gethostname(), boot_id(), pid, start_time(pid))


def is_dead(other: WorkerIdentity) -> bool:
    """Whether `other` is known to be gone. False when in doubt: its leases then end by their deadline."""
    if not other.boot or not boot_id():
        return False
    if other.boot != boot_id():
        # The same host in an earlier boot. Another PID namespace of this boot may live.
        return other.host == socket.gethostname() and other.boot.split("/")[0] != boot_id().split("/")[0]
    return start_time(other.pid) != other.started
