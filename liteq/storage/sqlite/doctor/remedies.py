"""The things that `liteq doctor --fix` sets right in a SQLite file: rights, indexes, free pages. No row is touched."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from liteq.exceptions import StorageCorrupt
from liteq.storage.driver import Promise, Transaction
from liteq.storage.sqlite.disk import ownership, parts
from liteq.storage.sqlite.doctor.checks import OF_AN_INDEX
from liteq.storage.sqlite.session import Session
from liteq.storage.sqlite.versions.schema import missing
from liteq.storage.upkeep import Remedy

__all__ = ["remedies"]

MIB = 1024 * 1024
WORTH = MIB  # of free pages
PAUSE_S = 0.005  # between two slices: others get their turn


class Treated(Protocol):
    """The driver, as this file needs it."""

    path: str

    def write(self, promise: Promise) -> AbstractContextManager[Transaction]: ...
    def free_bytes(self) -> int: ...
    def vacuum(self) -> int: ...
    def fold_log(self) -> None: ...


def remedies(driver: Treated, facts: dict[str, Any]) -> list[Remedy]:
    """The things that can be set right, by the facts of `describe.describe`; no row of a damaged one is written."""
    found = [*_unfinished(driver.path, facts), *_rights(driver.path, shared=facts["shared"])]
    problems = facts["integrity"]
    lost = isinstance(problems, list) and not all(map(OF_AN_INDEX.match, problems))
    if lost or (facts["log"] or {}).get("problem"):  # a write would go over what a person may still save
        return found
    return [*found, *_indexes(driver, facts), *_free_pages(driver, facts)]


# -- unfinished copies -------------------------------------------------------------------------------------------------


def _unfinished(path: str, facts: dict[str, Any]) -> Iterator[Remedy]:
    """The copies that killed restores have left: as large as the queue, and of no use."""
    if facts["unfinished"]:
        names = ", ".join(map(os.path.basename, facts["unfinished"]))
        yield Remedy("unfinished copies", f"remove {names}", lambda: f"{len(parts.clear(Path(path)))} removed")


# -- rights ----------------------------------------------------------------------------------------------------------


def _rights(path: str, *, shared: bool) -> Iterator[Remedy]:
    """Other users must not read messages. The files beside the database are for the same people as the database."""
    if not hasattr(os, "geteuid") or shared:  # the modes of a file that another program made are its affair
        return
    database = os.stat(path)
    # A group shares the queue where it may write; else that it may read is a slip of the umask.
    mode = ownership.MODE | (ownership.GROUP if database.st_mode & stat.S_IWGRP else 0)
    changes: list[tuple[str, str, Callable[[], object]]] = []
    for suffix in ("", *ownership.SIDE_FILES):
        changes += _change_of(path + suffix, database, mode)
    if changes:
        words = ", ".join(f"{name} {what}" for name, what, _ in changes)
        yield Remedy("rights", f"let nobody else open the files: {words}", partial(_apply, [do for *_, do in changes]))


def _change_of(
    path: str, database: os.stat_result, mode: int
) -> Iterator[tuple[str, str, Callable[[], object]]]:  # fmt: skip
    try:
        found = os.lstat(path)
    except OSError:
        return
    me, name = os.geteuid(), os.path.basename(path)
    if not stat.S_ISREG(found.st_mode) or me not in (0, found.st_uid):
        return
    if (found.st_uid, found.st_gid) != (database.st_uid, database.st_gid) and me == 0:
        yield name, f"to uid {database.st_uid}", partial(ownership.give_to_owner, path, database)
    was = stat.S_IMODE(found.st_mode)
    if was & ~mode & 0o777:
        yield name, f"{was:o} to {was & mode:o}", partial(os.chmod, path, was & mode)


def _apply(changes: list[Callable[[], object]]) -> str:
    for change in changes:
        change()
    return f"{len(changes)} changed"


# -- indexes ---------------------------------------------------------------------------------------------------------


def _indexes(driver: Treated, facts: dict[str, Any]) -> Iterator[Remedy]:
    if facts["missing"]:
        yield Remedy("indexes", f"make {', '.join(facts['missing'])} anew", partial(_make_missing, driver, facts))
    if isinstance(facts["integrity"], list):
        says = "make the indexes anew, which are damaged while the rows are whole; others cannot write meanwhile"
        yield Remedy("indexes", says, partial(_reindex, driver))


def _make_missing(driver: Treated, facts: dict[str, Any]) -> str:
    with driver.write(Promise.REMOVED) as tx:
        made = missing(cast("Session", tx), facts["schema"]["version"])
        for sql in made.values():
            tx.execute(sql)
    return f"{len(made)} made"


def _reindex(driver: Treated) -> str:
    with driver.write(Promise.REMOVED) as tx:
        left = _problems(tx)
        if not all(map(OF_AN_INDEX.match, left)):
            raise StorageCorrupt(f"{driver.path} has more damage than in its indexes: {left[0]}; restore a backup")
        tx.execute("REINDEX")
        if left := _problems(tx):
            raise StorageCorrupt(f"{driver.path} is still damaged: {left[0]}; restore a backup")
    return "made anew, and the file is whole"


def _problems(tx: Transaction) -> list[str]:
    found = [str(row[0]) for row in tx.execute("PRAGMA integrity_check(1000)")]
    return [] if found == ["ok"] else found


# -- free pages ------------------------------------------------------------------------------------------------------


def _free_pages(driver: Treated, facts: dict[str, Any]) -> Iterator[Remedy]:
    free = driver.free_bytes()
    if free >= WORTH:
        says = f"give {free / MIB:,.1f} MiB of free pages back to the disk, a little at a time"
        yield Remedy("free pages", says, partial(_give_back, driver, facts["size"]))


def _give_back(driver: Treated, size: int) -> str:
    left = driver.vacuum()
    while left:
        time.sleep(PAUSE_S)
        before, left = left, driver.vacuum()
        if left >= before:  # others free more than is given back: a worker with idle_vacuum goes on
            break
    driver.fold_log()  # until then the disk has not got it
    return f"the file had {size / MIB:,.1f} MiB and has {os.stat(driver.path).st_size / MIB:,.1f} MiB"
