"""The identity of a worker process, by which another process can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from uuid import uuid4

from liteq.message import WorkerIdentity

__all__ = ["Presence", "boot_id", "expand_name", "is_dead", "is_here", "me", "nth_name", "presence", "start_time"]

ENDED = frozenset("ZX")  # state letters of proc(5)
STOPPED = frozenset("Tt")


class Presence(Enum):
    """The kernel's word on a worker's process."""

    ALIVE = "alive"
    STOPPED = "stopped"  # by a signal or a debugger: it is there and does nothing
    GONE = "gone"
    UNKNOWN = "unknown"  # another machine's, another container's, or hidden: only its deadlines tell


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
    """The boot of this machine and the namespaces in which a PID and its start time mean something.

    "" where the platform does not tell. Containers that share the file have the boot id in common and PIDs of their
    own; in a time namespace of its own, a process reads other start times.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        found = [boot, str(Path("/proc/self/ns/pid").readlink())]
    except OSError:
        return ""
    with suppress(OSError):  # before Linux 5.6 there is none
        found.append(str(Path("/proc/self/ns/time").readlink()))
    return "/".join(found)


def start_time(pid: int) -> str:
    """The time `pid` was started, in the kernel's clock ticks since boot: tells a PID from its reuse.

    "" once it ended, and where its entry in /proc is hidden (hidepid=2, ProtectProc=invisible).
    """
    state, started = _state(pid)
    # A zombie has ended, whenever its parent comes to notice: some containers have an init that never does.
    return "" if state in ENDED else started


def _state(pid: int) -> tuple[str, str]:
    """The state letter and the start time of `pid`; ("", "") where its entry in /proc cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return "", ""
    # Fields 3 and 22 (proc(5)); the command's name, field 2, may hold anything, also blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields[0], fields[19]


def _exists(pid: int) -> bool:
    """Whether there is a process `pid`, also where /proc hides it. That it is another user's is a sign of life."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def me(name: str) -> WorkerIdentity:
    """The identity of this process, as the worker called `name`."""
    pid = os.getpid()
    return WorkerIdentity(uuid4().hex, name, socket.gethostname(), boot_id(), pid, start_time(pid))


def is_here(other: WorkerIdentity) -> bool:
    """Whether `other` is of this machine and of this container: the kernel can be asked after its process.

    Where the platform does not tell, the name of the host decides.
    """
    here = boot_id()
    if not other.boot or not here:
        return other.host == socket.gethostname()
    # An older liteq has not written down its namespace of time: as in the same one, where nearly all are.
    return other.boot in (here, here.rpartition("/time:")[0])


def presence(other: WorkerIdentity, *, one_machine: bool = True) -> Presence:
    """The kernel's word on the process of `other`. Unreadable is not dead: then its leases end by their deadline.

    `one_machine`: whether all workers of the queue are on this one (`Driver.one_machine`).
    """
    here = boot_id()
    if not other.boot or not here:
        return Presence.UNKNOWN
    if not is_here(other):
        # The same host in an earlier boot. Another namespace of this boot may live; and where several machines share a
        # queue, two of them, or their containers, may have one name.
        earlier = other.host == socket.gethostname() and other.boot.split("/")[0] != here.split("/")[0]
        return Presence.GONE if earlier and one_machine else Presence.UNKNOWN
    state, started = _state(other.pid)
    if not state:
        return Presence.UNKNOWN if _exists(other.pid) else Presence.GONE
    if state in ENDED or started != other.started:
        return Presence.GONE
    return Presence.STOPPED if state in STOPPED else Presence.ALIVE


def is_dead(other: WorkerIdentity, *, one_machine: bool = True) -> bool:
    """Whether `other` is known to be gone. False when in doubt: its leases then end by their deadline."""
    return presence(other, one_machine=one_machine) is Presence.GONE
