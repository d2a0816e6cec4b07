"""A worker in the background: detached from the terminal, as another user, under a pidfile."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from liteq.cli.parts.exits import Exit
from liteq.cli.parts.voice import VOICE
from liteq.context.identity import start_time
from liteq.exceptions import ImproperlyConfigured

__all__ = ["become", "claim_pidfile", "detached", "holder", "lives"]

flock: Callable[[int], None] | None
unlock: Callable[[int], None] | None
try:
    import fcntl
except ImportError:  # Windows, where nothing is detached either
    flock = unlock = None
else:

    def flock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def detached(wanted: bool = True) -> Iterator[None]:
    """Go on in a process without a terminal; the one that was called lives until the block is done.

    So what the block finds wrong (a pidfile that is taken) is written on the terminal, and is the exit code of the one
    that was called; else that is 0. What is written to stdout and stderr after the block is lost: the log is a file.
    """
    if not wanted:
        yield
        return
    if not hasattr(os, "fork"):
        raise ImproperlyConfigured("--detach needs fork: use a service manager here")
    report_in, report_out = os.pipe()
    if child := os.fork():
        os.close(report_out)
        os._exit(_reported(report_in, child))
    os.close(report_in)
    os.setsid()
    if os.fork():  # not the session's leader, so no terminal that it opens becomes its own
        os._exit(Exit.OK)
    try:
        yield
    except SystemExit as exc:
        os.write(report_out, bytes([exc.code if isinstance(exc.code, int) else Exit.FAILED]))
        raise
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.write(report_out, bytes([Exit.OK]))
    os.close(report_out)


def _reported(pipe: int, child: int) -> int:
    """The exit code that comes through the pipe; 1 from a process that ended without a word."""
    with suppress(ChildProcessError):  # SIGCHLD is ignored here: the kernel has taken it away
        os.waitpid(child, 0)
    code = os.read(pipe, 1)
    return code[0] if code else Exit.FAILED


def become(user: str | None, group: str | None) -> None:
    """Give up root for `user` and `group`, names or numbers. Raises ImproperlyConfigured when that cannot be."""
    if user is None and group is None:
        return
    import grp
    import pwd

    try:
        account = None if user is None else pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        gid = None if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as exc:
        raise ImproperlyConfigured(f"no such user or group: {exc.args[0]}") from None
    try:
        if account is not None:
            gid = account.pw_gid if gid is None else gid
            if os.geteuid() == 0:
                os.initgroups(account.pw_name, gid)
        if gid is not None:
            os.setgid(gid)
        if account is not None:
            os.setuid(account.pw_uid)
    except PermissionError:
        raise ImproperlyConfigured(
            "only root can change to another user or group: start as root, or as that user"
        ) from None


def claim_pidfile(path: Path) -> None:
    """Write this process's id to `path` until it ends; one that a dead process left is taken over.

    Ends the process with 73 when the file belongs to a living process, or is something else than a pidfile. It stays
    open here, by which `holder` tells this process from another program that has its number later.
    """
    try:
        fd = _locked(path)
    except OSError as exc:
        _refuse(f"{path} cannot be written: {exc.strerror}")
    claimed = False
    try:
        said = os.read(fd, 64).strip(b"\0 \n").decode(errors="replace")
        if said and not said.isdigit():
            _refuse(f"{path} is there already, and is no pidfile: name another")
        pid = holder(path)
        if pid is not None:
            _refuse(
                f"{path} is there already, and its process {pid} lives: end it (`kill {pid}`), or give this one a "
                f"pidfile of its own; if {pid} is another program, which got the number of a dead worker, delete {path}"
            )
        line = f"{os.getpid()}\n".encode()
        os.pwrite(fd, line, 0)  # then cut: nobody finds it empty who looks meanwhile
        os.ftruncate(fd, len(line))
        claimed = True
    finally:
        if not claimed:
            os.close(fd)
        elif unlock is not None:
            unlock(fd)
    atexit.register(_release, path, os.getpid())


def _locked(path: Path) -> int:
    """`path`, made where it is missing, open and under an exclusive lock, so that one at a time reads and writes it."""
    while True:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0), 0o644)
        if flock is None:
            return fd
        flock(fd)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(fd)):
                return fd
        os.close(fd)  # the process that had the lock has removed it


def _refuse(text: str) -> NoReturn:
    VOICE.say("error", text)
    raise SystemExit(Exit.CANNOT_CREATE)


def holder(path: Path) -> int | None:
    """The living process that the pidfile `path` names; None where there is none, or another program has its number."""
    try:
        pid = int(path.read_text().strip())
    except (OSError, ValueError):
        return None
    if pid == os.getpid():  # containers start with the same number each time
        return None
    return pid if lives(pid) and _has_open(pid, path) else None


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has `path` open, as far as the kernel tells: without /proc, and of another user's, True."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
        wanted = path.stat()
    except OSError:
        return True
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            if os.path.samestat(descriptor.stat(), wanted):
                return True
    return False


def lives(pid: int) -> bool:
    """Whether the process `pid` has not ended. A zombie has: some containers have an init that never takes it away."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no process has a number that the kernel cannot hold
        return False
    except PermissionError:
        return True
    return bool(start_time(pid)) or not start_time(os.getpid())  # the kernel's table, where there is one


def _release(path: Path, pid: int) -> None:
    if os.getpid() != pid:  # a child that was forked since
        return
    with suppress(OSError):
        if path.read_text().strip() == str(pid):  # nobody has made another since
            path.unlink()
