"""Tasks of a worker that counts its statements, and the bytes that it sends to its children, into a shared file."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Any

from liteq import LiteQ
from liteq.storage.sqlite.apsw_driver import ApswSession
from liteq.storage.sqlite.stdlib_driver import StdlibSession
from liteq.worker.pool.prefork import wire

STATEMENTS, SENT = 0, 1
WORKER = os.getpid()  # its children count nothing

app = LiteQ("counted", broker=os.environ["COUNTED_BROKER"])
counts = memoryview(mmap.mmap(os.open(os.environ["COUNTED_FILE"], os.O_RDWR), 16)).cast("q")


def counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any, **options: Any) -> Any:
        if os.getpid() == WORKER:
            counts[STATEMENTS] += 1
        return call(*args, **options)

    return counting


def measured(frame: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def measuring(value: Any) -> bytes:
        made = frame(value)
        if os.getpid() == WORKER:
            counts[SENT] += len(made)
        return made

    return measuring


for session in (ApswSession, StdlibSession):
    for name in ("execute", "executemany", "change", "begin_immediate", "commit", "rollback", "script"):
        setattr(session, name, counted(getattr(session, name)))
wire.frame = measured(wire.frame)


@app.task
def nothing(_argument: object = None) -> None:
    """Return at once."""


@app.task
def length(text: str) -> int:
    return len(text)
