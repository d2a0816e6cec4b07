"""The findings of `liteq doctor` about a SQLite file: is it sound, and is it where a queue can live?"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liteq.exceptions import StorageUnavailable
from liteq.storage.sqlite.disk.mounts import UNSAFE
from liteq.storage.upkeep import Check
from liteq.utils.text import old

__all__ = ["OF_AN_INDEX", "checks"]

MIB = 1024 * 1024
LITTLE_SPACE = 64 * MIB

# The values that liteq sets, and the meaning of a different one.
PRAGMAS: dict[str, tuple[object, str]] = {
    "journal_mode": ("wal", "readers and the writer wait for each other"),
    "foreign_keys": (1, "set anew by each connection"),
    "trusted_schema": (0, "set anew by each connection"),
    "wal_autocheckpoint": (0, "unguarded checkpoints can damage the file"),
    "auto_vacuum": (2, "the file never shrinks: it was not made by liteq"),
}

# The problems of `PRAGMA integrity_check` that are an index's: the rows are whole, and it can be made anew from them.
OF_AN_INDEX = re.compile(r"row \d+ (missing from|values differ from) index|wrong # of entries in index")


def checks(facts: dict[str, Any]) -> list[Check]:
    """The findings in the facts that `describe.describe` has gathered.

    Raises StorageUnavailable where the file has gone from its place meanwhile.
    """
    try:
        return [*_of_file(facts), *_of_place(facts)]
    except OSError as error:
        why = f"{facts['path']} cannot be read ({error.strerror}): was it moved or deleted?"
        raise StorageUnavailable(why) from error


def _of_file(facts: dict[str, Any]) -> Iterator[Check]:
    library = f"{facts['library']} {facts['library_version']}, SQLite {facts['sqlite_version']}"
    yield Check("library", "ok", f"{library}, source id {facts['sqlite_source_id']}")
    if facts["wal_reset_bug"] and facts["shared"]:
        yield Check(
            "known bugs", "ok", "the WAL-reset bug of this SQLite: the checkpoints of liteq and Django are guarded"
        )
    elif facts["wal_reset_bug"]:
        yield Check(
            "known bugs", "warning",
            "the WAL-reset bug (SQLite 3.7.0 - 3.51.2): liteq's own checkpoints are guarded against it; nothing else "
            "may write to the file. The default driver, apsw, is free of it",
        )  # fmt: skip
    else:
        yield Check("known bugs", "ok", "free of the WAL-reset bug")
    schema = facts["schema"]
    yield Check("schema", "ok", f"version {schema['version']}, may be written by {schema['min_writer']} and newer")
    for name, (wanted, otherwise) in PRAGMAS.items():
        found = facts["pragmas"].get(name)
        if name == ("journal_mode" if facts["alone"] else "auto_vacuum" if facts["shared"] else None):
            continue  # without a log there is nobody to wait for; another program has made the other
        if found != wanted:
            serious = name in {"journal_mode", "wal_autocheckpoint"}
            yield Check(name, "error" if serious else "warning", f"is {found}, not {wanted}: {otherwise}")
    yield Check("pragmas", "ok", ", ".join(f"{name}={value}" for name, value in facts["pragmas"].items()))
    yield Check("durability", "ok", facts["durability"])
    yield _free(facts)
    yield from _schema(facts)
    yield _integrity(facts)


def _free(facts: dict[str, Any]) -> Check:
    free = facts["pragmas"]["freelist_count"] * facts["pragmas"]["page_size"]
    detail = f"{free:,} of {facts['pragmas']['page_count'] * facts['pragmas']['page_size']:,} bytes are free"
    back = "used again by what comes; `liteq doctor --fix` gives them back to the disk"
    can_shrink = facts["pragmas"]["auto_vacuum"] == PRAGMAS["auto_vacuum"][0]
    return Check("free pages", "ok", f"{detail}: {back}" if free >= MIB and can_shrink else detail)


def _schema(facts: dict[str, Any]) -> Iterator[Check]:
    if facts["missing"]:
        names = ", ".join(facts["missing"])
        yield Check(
            "indexes", "error", f"of the schema {names} are gone: the queue is slow, or wrong; `liteq doctor --fix`"
        )


def _integrity(facts: dict[str, Any]) -> Check:
    log = facts["log"]
    if facts["integrity"] is None:
        return Check("integrity", "ok", "not looked at here: `liteq doctor` reads the whole file")
    if facts["integrity"] != "ok" and all(map(OF_AN_INDEX.match, facts["integrity"])):
        found = facts["integrity"][0]
        return Check("integrity", "error", f"indexes are damaged, the rows are whole: {found}; `liteq doctor --fix`")
    if facts["integrity"] != "ok":
        found = "; ".join(facts["integrity"][:3])
    elif log["problem"]:
        found = f"the log {facts['path']}-wal: {log['problem']}"
    else:
        return Check("integrity", "ok", f"{facts['size']:,} bytes checked, and {log['frames']:,} pages in the log")
    return Check("integrity", "error", f"damaged: {found}. Stop the workers and restore a backup")


def _of_place(facts: dict[str, Any]) -> Iterator[Check]:
    path = Path(facts["path"])
    kind = facts["file_system"]
    if kind in UNSAFE:
        yield Check("file system", "error", f"{path} is on {kind}: shared by machines, SQLite's log gets damaged")
    else:
        yield Check("file system", "ok", f"{path} on {kind}")
    yield from _permissions(path, shared=facts["shared"])
    free = shutil.disk_usage(path.parent).free
    if facts["in_reserve"]:
        stands = "it was full, and the space in reserve is in use: workers claim nothing, sends are refused; free some"
        yield Check("disk", "error", f"{free // MIB:,} MiB free: {stands}")
    else:
        yield Check("disk", "warning" if free < LITTLE_SPACE else "ok", f"{free // MIB:,} MiB free")
    if facts["writer"]:
        says = f"{facts['writer']} has held it for a second, and nobody else can write: if it goes on, stop it"
        yield Check("write lock", "warning", says)
    if facts["unfinished"]:
        names = ", ".join(Path(one).name for one in facts["unfinished"])
        says = f"{names}: left by a restore that was killed; `liteq doctor --fix`, or the next restore, removes it"
        yield Check("unfinished copies", "warning", says)
    for sentence in facts["litestream"]:
        yield Check("litestream", "warning", sentence)
    log = facts["wal_size"]
    of_log = [sentence for sentence in facts["warnings"] if sentence not in facts["litestream"]]
    if facts["copy"]:
        yield Check("age", "ok", f"a copy, {old(facts['age_s'])}")
    elif of_log:
        yield Check("log", "warning", of_log[0])
    else:
        yield Check("log", "ok", f"{log:,} bytes in {path.name}-wal")


def _permissions(path: Path, *, shared: bool) -> Iterator[Check]:
    if os.name != "posix":
        return
    status, folder = path.stat(), path.parent.stat()
    shown = f"{stat.filemode(status.st_mode)} uid {status.st_uid} gid {status.st_gid}"
    open_to_all = stat.S_IWOTH if shared else stat.S_IROTH | stat.S_IWOTH  # the one who made it lets others read
    if status.st_mode & open_to_all:
        yield Check("permissions", "warning", f"{shown}: every user of this machine can open it; chmod 600 {path}")
    elif folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        yield Check("permissions", "warning", f"every user may replace files in {path.parent}: chmod o-w {path.parent}")
    else:
        yield Check("permissions", "ok", shown)
