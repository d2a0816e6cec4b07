"""The limit that the system sets to the size of a process's files: SQLite tells of it as of a disk that failed."""

from __future__ import annotations

import sys

from liteq.storage.sqlite.disk import files

__all__ = ["largest_file"]

WRITES = (778, 4874)  # the extended codes SQLITE_IOERR_WRITE, SQLITE_IOERR_SHMSIZE
ROOM = 128 * 1024  # below the limit: a page, or a piece of the log's index, did not fit


def largest_file(path: str, code: int) -> int | None:
    """The most bytes that a file of this process may have, where `code` of SQLite is because of that; else None."""
    if sys.platform == "win32" or code not in WRITES:
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return None
    largest = max(files.size(f"{path}{suffix}") for suffix in ("", "-wal", "-shm"))
    return limit if largest + ROOM > limit else None
