"""A worker in the background: detached from the terminal, as another user, under a pidfile."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from liteq.cli.exits import Exit
from liteq.exceptions import ImproperlyConfigured
from liteq.worker.identity import start_time

__all__ = ["become", "claim_pidfile", "detached", "holder", "lives"]


@contextmanager
def detached(wanted: bool = True) -> Iterator[None]:
    """Go on in a process without a terminal; the one that was called lives until the block is done.

    So what the block finds wrong (a pidfile that is taken) is said on the terminal, and is the exit code of the one
    that was called; else that is 0. What is written to stdout and stderr after the block is lost: the log is a file.
    """
    if not wanted:
        yield
        return
    if not hasattr(os, "fork"):
        raise ImproperlyConfigured("--detach needs fork: use a service manager here")
    told, tell = os.pipe()
    if child := os.fork():
        os.close(tell)
        os._exit(_told(told, child))
    os.close(told)
    os.setsid()
    if os.fork():  # not the session's leader, so no terminal that it opens becomes its own
        os._exit(Exit.OK)
    try:
        yield
    except SystemExit as exc:
        os.write(tell, bytes([exc.code if isinstance(exc.code, int) else Exit.FAILED]))
        raise
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.write(tell, bytes([Exit.OK]))
    os.close(tell)


def _told(pipe: int, child: int) -> int:
    """The exit code that comes through the pipe; 1 from a process that ended without a word."""
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
        raise ImproperlyConfigured(f"there is no such user or group: {exc.args[0]}") from None
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

    Ends the process with 73 when the file belongs to a living process.
    """
    for _ in range(2):
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            pid = holder(path)
            if pid is not None:
                click.echo(f"liteq: error: {path} is there already, and its process {pid} lives", err=True)
                raise SystemExit(Exit.CANNOT_CREATE) from None
            path.unlink(missing_ok=True)
            continue
        except OSError as exc:
            click.echo(f"liteq: error: {path} cannot be written: {exc.strerror}", err=True)
            raise SystemExit(Exit.CANNOT_CREATE) from None
        os.write(fd, f"{os.getpid()}\n".encode())
        os.close(fd)
        atexit.register(_release, path, os.getpid())
        return
    click.echo(f"liteq: error: {path} cannot be taken over from a dead process", err=True)
    raise SystemExit(Exit.CANNOT_CREATE)


def holder(path: Path) -> int | None:
    """The living process that the pidfile `path` names; None where there is none."""
    try:
        pid = int(path.read_text().strip())
    except (OSError, ValueError):
        return None
    if pid == os.getpid():  # containers start with the same number each time
        return None
    return pid if lives(pid) else None


def lives(pid: int) -> bool:
    """Whether the process `pid` has not ended. A zombie has: some containers have an init that never takes it away."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(start_time(pid)) or not start_time(os.getpid())  # the kernel's table, where there is one


def _release(path: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked since
        path.unlink(missing_ok=True)
