"""Children that are started afresh: their interpreter shares no memory with the worker, and imports the app itself."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.spawn import get_executable

from liteq import signals as announce
from liteq.worker.pool.page import SIZE, Page
from liteq.worker.pool.prefork.becoming import become_child, leave
from liteq.worker.pool.prefork.channel import Channel
from liteq.worker.pool.prefork.child import child_of
from liteq.worker.pool.prefork.descriptors import make_room
from liteq.worker.pool.prefork.handle import Handle
from liteq.worker.pool.prefork.letter import Letter, read_letter
from liteq.worker.pool.prefork.memory import shared_file

__all__ = ["NAMES", "ends_of_child", "live", "python", "spawn_child", "spawned"]

logger = logging.getLogger("liteq.worker")

NAMES = {"spawn": "SpawnPoolWorker", "forkserver": "ForkServerPoolWorker"}  # Celery's, in logs


def spawn_child(letter: int, *, number: int, isolated: bool, make: type[Handle] = Handle) -> Handle:
    """Start an interpreter that becomes a child; `letter`: the descriptor of what it is told.

    Raises OSError when the system has no process, memory or descriptor left.
    """
    with ends_of_child() as (channel, page, shared):
        call = f"spawned({os.getpid()}, {number}, {isolated}"
        pid = python(
            "from liteq.worker.pool.prefork.afresh import spawned", call,
            (channel.theirs.fileno(), channel.permits_in, shared, letter),
        )  # fmt: skip
    return make(pid, channel.ours, channel.permits_out, channel.permits_in, page)


@contextmanager
def ends_of_child() -> Iterator[tuple[Channel, Page, int]]:
    """The channel and the page of a child that the block starts, and the descriptor by which it shares the page.

    Behind the block ours alone are open; none is where the block raised. Raises OSError.
    """
    channel, page, shared = _open_ends()
    try:
        yield channel, page, shared
    except BaseException:
        channel.close()
        page.close()
        raise
    finally:
        os.close(shared)
    channel.keep_ours()


def _open_ends() -> tuple[Channel, Page, int]:
    """The channel to a child, its page, and the descriptor by which it shares that. Raises OSError."""
    make_room()
    shared = shared_file("liteq-page", bytes(SIZE))
    try:
        page = Page(shared=True, fd=shared)
        try:
            return Channel.open(), page, shared
        except OSError:
            page.close()
            raise
    except OSError:
        os.close(shared)
        raise


def python(prelude: str, call: str, fds: tuple[int, ...]) -> int:
    """Start an interpreter as this one that runs `prelude`, and then `call` with the numbers of `fds`; its pid.

    It has these descriptors and no other of ours. The caller waits for its end.
    """
    code = f"import sys; sys.path[:] = {sys.path!r}; {prelude}; {call}, {', '.join(map(str, fds))})"
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined] # as multiprocessing takes them
    executable = os.fsdecode(get_executable())
    before = [(fd, os.get_inheritable(fd)) for fd in fds]
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
        return os.posix_spawn(executable, [executable, *flags, "-c", code], os.environ)
    finally:
        for fd, inheritable in before:
            os.set_inheritable(fd, inheritable)


# -- in the new process ----------------------------------------------------------------------------------------------


def spawned(parent: int, number: int, isolated: bool, sock: int, permits: int, shared: int, letter: int) -> None:
    """Live as a child, in an interpreter that has just begun."""
    for fd in (sock, permits, shared, letter):
        os.set_inheritable(fd, False)
    told = read_letter(letter)
    os.close(letter)
    live(told, parent, number, isolated, sock, permits, shared)


def live(letter: Letter, parent: int, number: int, isolated: bool, sock: int, permits: int, shared: int) -> None:
    """Become a child of `parent`, execute what it gives, and end this process."""
    status = 1
    try:
        become_child(parent, f"liteq: {letter.hostname} child {number}", f"{NAMES[letter.start_method]}-{number}")
        page = Page(shared=True, fd=shared)
        os.close(shared)
        os.set_blocking(permits, False)
        app = letter.open_app(first=number == 1)
        settings = letter.settings(app, isolated=isolated)
        announce.worker_process_init.send(sender=None)
        child = child_of(app, settings, socket.socket(fileno=sock), permits, page, worker=letter.worker)
        child.tell_ready()
        child.workloop()
        status = 0
    except BaseException:
        logger.exception("a worker process failed outside any task")
    finally:
        leave(status)
