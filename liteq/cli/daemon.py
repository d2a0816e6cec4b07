"""A worker in the background: detached from the terminal, as another user, under a pidfile."""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import click

from liteq.cli.exits import Exit
from liteq.exceptions import ImproperlyConfigured

__all__ = ["become", "claim_pidfile", "detach"]


def detach() -> None:
    """Go on in a process without a terminal; the one that was called ends with 0.

    What is written to stdout and stderr is lost from here on: the log goes to a file.
    """
    if not hasattr(os, "fork"):
        raise ImproperlyConfigured("--detach needs fork: use a service manager here")
    if os.fork():
        os._exit(Exit.OK)
    os.setsid()
    if os.fork():  # not the session's leader, so no terminal that it opens becomes its own
        os._exit(Exit.OK)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


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
            holder = _holder(path)
            if holder is not None:
                click.echo(f"liteq: error: {path} is there already, and its process {holder} lives", err=True)
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


def _holder(path: Path) -> int | None:
    """The living process that `path` names."""
    try:
        pid = int(path.read_text().strip())
    except (OSError, ValueError):
        return None
    if pid == os.getpid():  # containers start with the same number each time
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return pid


def _release(path: Path, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that was forked since
        path.unlink(missing_ok=True)
