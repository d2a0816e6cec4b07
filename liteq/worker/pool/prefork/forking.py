"""Forking: the start of a child that has all that its parent had imported."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterable

from liteq import signals as announce
from liteq.context import App
from liteq.utils import imports
from liteq.worker.pool.page import Page
from liteq.worker.pool.prefork.becoming import become_child, flush_output, leave
from liteq.worker.pool.prefork.channel import Channel
from liteq.worker.pool.prefork.child import ChildSettings, child_of
from liteq.worker.pool.prefork.descriptors import make_room
from liteq.worker.pool.prefork.handle import Handle

__all__ = ["fork_child"]

logger = logging.getLogger("liteq.worker")

LetGo = Callable[[], None]
IMPORT_S = 5.0  # that a fork waits for a thread of the parent to end its imports


def fork_child(
    app: App, settings: ChildSettings, siblings: Iterable[Handle], *, number: int, let_go: LetGo, make: type[Handle]
) -> Handle:
    """Fork a child that executes leases; the parent's handle on it. `number` is never used again, also in its name.

    `let_go` closes, in the child, the other descriptors of the parent that it must not keep. The storage closes its own
    connections around each fork: a child that believed to share its parent's would hold no lock at all. Raises OSError
    when the system has no process, memory or descriptor left.
    """
    make_room()
    page = Page(shared=True)
    if not imports.settle(IMPORT_S):
        logger.warning(
            "a thread of the worker has been importing for %.0f s: a child that is forked now cannot import the same "
            "module; import it before the worker starts", IMPORT_S,
        )  # fmt: skip
    channel = Channel.open()
    flush_output()
    parent = os.getpid()
    try:
        pid = _fork()
    except OSError:
        channel.close()
        page.close()
        raise
    if pid == 0:
        status = 1
        try:
            channel.keep_theirs()
            for sibling in siblings:
                sibling.let_go()
            let_go()
            become_child(parent, f"liteq: {settings.hostname} child {number}", f"ForkPoolWorker-{number}")
            announce.worker_process_init.send(sender=None)
            child_of(app, settings, channel.theirs, channel.permits_in, page).workloop()
            status = 0
        except BaseException:
            logger.exception("a worker process failed outside any task")
        finally:
            leave(status)
    channel.keep_ours()
    return make(pid, channel.ours, channel.permits_out, channel.permits_in, page)


def _fork() -> int:
    """`os.fork`, while the garbage collector rests; the child's never looks at what it has from its parent.

    It writes into each object that it looks at, which copies the page: a look before the second fork would copy what
    the first child shares.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        pid = os.fork()
        if pid == 0:
            gc.freeze()
    finally:
        if collects:
            gc.enable()
    return pid
