"""The facts about a SQLite file, for `liteq doctor`."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, ClassVar, Protocol

from liteq.storage.driver import Durability
from liteq.storage.sqlite.disk import parts
from liteq.storage.sqlite.disk.log_check import check_log
from liteq.storage.sqlite.disk.mounts import file_system
from liteq.storage.sqlite.migrate import read_versions
from liteq.storage.sqlite.session import APPLICATION_ID, Session
from liteq.storage.sqlite.turns.holder import kept_by
from liteq.storage.sqlite.versions.schema import missing

__all__ = ["describe", "has_wal_reset_bug"]

PRAGMAS = (
    "journal_mode", "auto_vacuum", "page_size", "page_count", "freelist_count", "foreign_keys", "trusted_schema",
    "wal_autocheckpoint", "journal_size_limit", "mmap_size", "busy_timeout", "application_id", "user_version",
)  # fmt: skip

KEPT_S = 1.0  # no transaction of liteq's lasts so long


class Described(Protocol):
    """The driver, as this file needs it."""

    url: str
    path: str
    library: ClassVar[str]
    durability: Durability
    marks: list[str]

    def library_version(self) -> str: ...
    def warnings(self) -> list[str]: ...
    def age_s(self) -> float | None: ...
    def in_reserve(self) -> bool: ...


def has_wal_reset_bug(version: str) -> bool:
    """Whether this SQLite can corrupt a WAL file when two processes write and checkpoint at once.

    In 3.7.0 - 3.51.2; fixed in 3.51.3, and in 3.50.7 and 3.44.6. liteq's checkpoints are guarded, so its own processes
    cannot run into it; a sqlite3 shell with its own automatic checkpoints can.
    """
    number = tuple(int(part) for part in version.split("."))[:3]
    fixed = number >= (3, 51, 3) or (3, 50, 7) <= number < (3, 51) or (3, 44, 6) <= number < (3, 45)
    return not fixed and number >= (3, 7)


def describe(session: Session, driver: Described, *, whole: bool = True) -> dict[str, Any]:
    """Facts about the library and the file; sizes in bytes. The integrity check reads the whole file, and its log.

    Without `whole` it is left out, and the look costs the same at any size: "integrity" and "log" are None then, and
    `unfinished`, the copies that killed processes have left, and `writer`, the process that lets no other write, are
    empty.
    `shared`: another program has made the file, as Django does where the queue is in its database. `alone`: it is
    read without a log. `age_s`: how many seconds ago a `copy` was written, 0 for the queue itself.
    """
    version, source_id = session.execute("SELECT sqlite_version(), sqlite_source_id()")[0]
    versions, age_s = read_versions(session, driver.path), driver.age_s()
    problems = [row[0] for row in session.execute("PRAGMA integrity_check(10)")] if whole else []
    return {
        "url": driver.url,
        "path": driver.path,
        "library": driver.library,
        "library_version": driver.library_version(),
        "sqlite_version": version,
        "sqlite_source_id": source_id,
        "wal_reset_bug": has_wal_reset_bug(version),
        "durability": driver.durability.value,
        "file_system": file_system(driver.path) or "unknown",
        "files": {suffix or "database": _file(driver.path + suffix) for suffix in ("", "-wal", "-shm", "-gate")},
        "size": _size(driver.path),
        "wal_size": _size(driver.path + "-wal"),
        "unfinished": [str(path) for path in parts.left(Path(driver.path))] if whole else [],
        "writer": kept_by(driver.path, KEPT_S) if whole else "",
        "in_reserve": driver.in_reserve(),
        "alone": session.hold is not None,
        "copy": age_s is not None,
        "age_s": age_s or 0.0,
        "warnings": driver.warnings(),
        "litestream": driver.marks,
        "schema": versions._asdict(),
        "pragmas": {name: session.pragma(name) for name in PRAGMAS},
        "missing": sorted(missing(session, versions.version)),
        "integrity": None if not whole else "ok" if problems == ["ok"] else problems,
        "log": check_log(driver.path + "-wal")._asdict() if whole else None,
        "shared": session.pragma("application_id") != APPLICATION_ID,
    }


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _file(path: str) -> dict[str, Any] | None:
    """Size, mode and owner by `stat` alone: opening the file would drop this process's locks."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"size": status.st_size, "mode": stat.filemode(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
