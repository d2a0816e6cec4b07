"""The marks that Litestream leaves in a file: by them a copy that was put into place by hand is told of.

`litestream restore` writes a file that looks like the original: the same epoch and the same fencing tokens. A queue in
use has a log beside it, as Litestream keeps one connection open. So a file with the marks and without a log is either
such a copy, or the original after everything was stopped. These two cannot be told apart from here.
"""

from __future__ import annotations

from typing import Final

from liteq.storage.sqlite.session import Session

__all__ = ["is_copied", "told_of"]

TABLES: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name IN ('_litestream_seq', '_litestream_lock')"
COPY: Final = (
    "{path} is a file of Litestream's, and had no log beside it. If it is a copy that was put here by hand, stop all "
    "workers, move it elsewhere and run `liteq restore COPY`: else workers of before may acknowledge what is leased "
    "anew. If all processes, Litestream too, were only stopped, all is well"
)
STDLIB: Final = (
    "{path} is copied by Litestream, and opened here by Python's own SQLite: where two programs fold a log, both need "
    "a SQLite without the WAL-reset bug. Use the default driver, apsw (no ?driver=stdlib)"
)

_without_log: set[tuple[int, int]] = set()  # device and inode of files that this process was the first to open again


def is_copied(session: Session) -> bool:
    """Whether Litestream copies the file, or has copied it."""
    return bool(session.execute(TABLES))


def told_of(session: Session, library: str, identity: tuple[int, int], *, had_log: bool) -> list[str]:
    """Sentences on a file that Litestream copies, or has copied; [] where there is nothing to say.

    `identity`: its device and inode. `had_log`: whether a log stood beside it before `session` opened it; another
    driver of this process may have made that. A file that is not in WAL mode is no copy of a queue in use: it begins a
    new epoch when it comes into use (epoch.py).
    """
    if had_log and library == "apsw" and identity not in _without_log:
        return []
    if not is_copied(session):
        return []
    if not had_log and _is_in_wal(session):
        _without_log.add(identity)
    found = [COPY] if identity in _without_log else []
    if library != "apsw":
        found.append(STDLIB)
    return [sentence.format(path=session.path) for sentence in found]


def _is_in_wal(session: Session) -> bool:
    hold = session.hold
    return bool(session.pragma("journal_mode") == "wal") if hold is None else hold.is_in_wal()
