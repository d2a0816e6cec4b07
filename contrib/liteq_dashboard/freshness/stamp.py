"""Whether a queue's file has changed, told without opening it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from liteq.storage import describe_url

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = ["stamp_of"]

UNSEEN_MS = 2_000  # where a queue is no file: as if it changed this often


def stamp_of(app: LiteQ) -> str:
    """A word that is another one after a change of the queue's file; all processes of a machine see the same.

    Two calls of stat: the file is not opened.
    """
    place = describe_url(app.broker_url)
    if place.kind != "file":
        return str(app.clock.now_ms() // UNSEEN_MS)
    facts: list[int] = []
    for path in (f"{place.where}-wal", place.where):
        try:
            stat = Path(path).stat()
        except OSError:
            facts += (0, 0)
        else:
            facts += (stat.st_mtime_ns, stat.st_size)
    return "-".join(f"{fact:x}" for fact in facts)
