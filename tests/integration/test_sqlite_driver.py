"""One process, one file: transactions, durability, refusals, checkpoint, backup. Both libraries."""

from __future__ import annotations

import errno
import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from liteq.exceptions import ImproperlyConfigured, SchemaTooNew, StorageCorrupt, StorageError, StorageUnavailable
from liteq.storage import open_driver
from liteq.storage.driver import Bell, Durability, Promise
from liteq.storage.sqlite.base import SQLiteDriver
from liteq.storage.sqlite.disk import files
from liteq.storage.sqlite.keeping import upkeep
from liteq.storage.sqlite.migrate import migrations
from liteq.storage.sqlite.session import WAL_LIMIT

GROUP = "INSERT INTO liteq_groups (id, size, remaining, position, created_ms) VALUES (?, 1, 1, 0, 0)"
IDS = "SELECT id FROM liteq_groups ORDER BY id"
NEWEST = max(migrations())


@pytest.fixture(params=["apsw", "stdlib"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def driver(library: str, tmp_path: Path) -> Iterator[SQLiteDriver]:
    opened = make(tmp_path, library)
    opened.migrate()
    yield opened
    opened.close()


def make(folder: Path, library: str, **options: Any) -> SQLiteDriver:
    opened = open_driver(f"sqlite:///{folder}/tasks.db", driver=library, **options)
    assert isinstance(opened, SQLiteDriver)
    return opened


def add(driver: SQLiteDriver, name: str, promise: Promise = Promise.ACCEPTED) -> None:
    with driver.write(promise) as tx:
        tx.execute(GROUP, (name,))


def ids(driver: SQLiteDriver) -> list[str]:
    with driver.read() as tx:
        return [row[0] for row in tx.execute(IDS)]


def test_a_block_commits_at_its_end_and_rolls_back_on_an_exception(driver: SQLiteDriver) -> None:
    add(driver, "kept")

    with pytest.raises(StorageError, match="UNIQUE"), driver.write() as tx:
        tx.execute(GROUP, ("lost",))
        tx.execute(GROUP, ("lost",))
    assert ids(driver) == ["kept"]
    add(driver, "later")


def test_executemany_tells_how_many_rows_changed(driver: SQLiteDriver) -> None:
    with driver.write() as tx:
        assert tx.executemany(GROUP, [("a",), ("b",), ("c",)]) == 3
        assert tx.executemany(f"{GROUP} ON CONFLICT DO NOTHING", iter([("c",), ("d",)])) == 1


def test_returning_and_named_parameters(driver: SQLiteDriver) -> None:
    with driver.write() as tx:
        tx.execute(GROUP, ("a",))
        sql = "UPDATE liteq_groups SET size = :size WHERE id = :id RETURNING id, size"
        rows = tx.execute(sql, {"id": "a", "size": 7})
    assert rows == [("a", 7)]


def test_a_snapshot_stays_the_same(driver: SQLiteDriver) -> None:
    with driver.read() as tx:
        assert tx.execute(IDS) == []
        add(driver, "new")
        assert tx.execute(IDS) == []
    assert ids(driver) == ["new"]


def test_a_read_transaction_cannot_write(driver: SQLiteDriver) -> None:
    with pytest.raises(StorageError), driver.read() as tx:
        tx.execute(GROUP, ("x",))


def test_nested_writes_are_refused_at_once(driver: SQLiteDriver) -> None:
    with driver.write(), pytest.raises(StorageError, match="nested"), driver.write():
        pass
    add(driver, "after")


def test_many_threads_share_one_driver(driver: SQLiteDriver) -> None:
    def add_ten(number: int) -> None:
        for n in range(10):
            add(driver, f"{number}-{n}")

    threads = [threading.Thread(target=add_ten, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids(driver)) == 80


def counted_syncs(driver: SQLiteDriver, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One element for each sync of the log from now on: whether the write lock was free meanwhile."""
    syncs: list[bool] = []
    other = sqlite3.connect(driver.path, isolation_level=None, timeout=0)

    def sync_log() -> None:
        other.execute("BEGIN IMMEDIATE")  # raises where somebody has it
        other.execute("ROLLBACK")
        syncs.append(True)

    monkeypatch.setattr(driver, "sync_log", sync_log)
    return syncs


@pytest.mark.parametrize(
    ("durability", "promise", "waits"),
    [
        (Durability.DURABLE, Promise.ACCEPTED, 1),
        (Durability.DURABLE, Promise.REMOVED, 1),
        (Durability.DURABLE, Promise.PROGRESS, 0),
        (Durability.STRICT, Promise.PROGRESS, 1),
        (Durability.RELAXED, Promise.PROGRESS, 0),
    ],
)
def test_the_promise_decides_whether_a_writer_waits_for_the_disk_after_its_lock(
    durability: Durability, promise: Promise, waits: int, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(tmp_path, library, durability=durability)
    driver.migrate()
    syncs = counted_syncs(driver, monkeypatch)
    add(driver, "a", promise)
    assert len(syncs) == waits
    driver.change(GROUP, ("b",), promise)
    assert len(syncs) == 2 * waits
    driver.close()


def test_the_bell_is_rung_before_the_wait_for_the_disk(driver: SQLiteDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(driver, "ring", lambda bell: done.append(bell.value))
    monkeypatch.setattr(driver, "sync_log", lambda: done.append("sync"))
    with driver.write(Promise.ACCEPTED, Bell.WORK) as tx:
        tx.execute(GROUP, ("a",))
    driver.change(GROUP, ("b",), bell=Bell.WORK)
    assert done == ["work", "sync"] * 2


def test_a_disk_that_does_not_sync_is_told(driver: SQLiteDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync", refuse)
    with pytest.raises(StorageUnavailable, match="cannot be put on the disk: Input/output error"):
        add(driver, "a")
    driver.sync()  # never raises
    monkeypatch.undo()
    assert ids(driver) == ["a"]


def test_relaxed_owes_a_sync_for_what_was_promised_alone(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make(tmp_path, library, durability=Durability.RELAXED)
    driver.migrate()
    counted_syncs(driver, monkeypatch)
    monkeypatch.setattr(driver, "_synced_at", inf)  # a moment ago, however slow this machine is
    add(driver, "a", Promise.PROGRESS)
    assert (driver.unsynced_since < inf, driver.owes) == (True, False)
    add(driver, "b", Promise.ACCEPTED)
    assert driver.owes
    add(driver, "c", Promise.PROGRESS)
    assert driver.owes

    def refuse() -> None:
        raise StorageUnavailable("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(driver, "sync_log", refuse)
        driver.sync()
    assert (driver.unsynced_since < inf, driver.owes) == (True, True)  # it is tried again, by whoever looks after that
    driver.sync()
    assert (driver.unsynced_since, driver.owes) == (inf, False)
    driver.close()


def test_relaxed_syncs_again_after_a_while(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = make(tmp_path, library, durability=Durability.RELAXED)
    driver.migrate()
    moment = [time.monotonic() + 10]
    monkeypatch.setattr(upkeep, "monotonic", lambda: moment[0])
    syncs = counted_syncs(driver, monkeypatch)

    def waited(name: str) -> int:
        before = len(syncs)
        add(driver, name)
        return len(syncs) - before

    assert [waited("a"), waited("b"), waited("c")] == [1, 0, 0]
    moment[0] += 0.2
    assert [waited("d"), waited("e")] == [1, 0]
    driver.close()


def test_a_relaxed_commit_that_did_not_wait_for_the_disk_owes_a_sync(library: str, tmp_path: Path) -> None:
    driver = make(tmp_path, library, durability=Durability.RELAXED)
    driver.migrate()
    add(driver, "a")
    driver.sync()
    assert driver.unsynced_since == math.inf
    add(driver, "b")  # within the tenth of a second
    assert driver.unsynced_since <= time.monotonic()
    driver.sync()
    assert driver.unsynced_since == math.inf
    assert ids(driver) == ["a", "b"]
    driver.close()


def test_a_durable_driver_owes_none(driver: SQLiteDriver) -> None:
    add(driver, "a", Promise.PROGRESS)
    assert driver.unsynced_since == math.inf


def test_the_pragmas_that_a_queue_needs(driver: SQLiteDriver, tmp_path: Path) -> None:
    found = driver.describe()

    assert (
        found["pragmas"]
        | {
            "journal_mode": "wal",
            "auto_vacuum": 2,
            "page_size": 2048,
            "foreign_keys": 1,
            "trusted_schema": 0,
            "wal_autocheckpoint": 0,
            "user_version": found["schema"]["version"],
        }
        == found["pragmas"]
    )
    assert found["integrity"] == "ok"
    assert found["wal_reset_bug"] in (True, False)
    assert found["library"] == driver.library
    for name in ("tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db-gate"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_the_version_changes_with_each_commit(driver: SQLiteDriver) -> None:
    first = driver.version()
    assert driver.version() == first
    add(driver, "a")
    assert driver.version() != first


def test_the_log_does_not_grow_without_a_worker(driver: SQLiteDriver, tmp_path: Path) -> None:
    for turn in range(60):
        with driver.write(Promise.PROGRESS) as tx:
            tx.executemany(GROUP, [(f"{turn}-{n}-{'x' * 900}",) for n in range(1000)])
    assert (tmp_path / "tasks.db").stat().st_size > 4 * WAL_LIMIT
    assert (tmp_path / "tasks.db-wal").stat().st_size < 2 * WAL_LIMIT
    assert driver.describe()["integrity"] == "ok"


def test_a_checkpoint_folds_the_log_into_the_file(driver: SQLiteDriver, tmp_path: Path) -> None:
    before = (tmp_path / "tasks.db").stat().st_size
    with driver.write() as tx:
        tx.executemany(GROUP, [(f"{n}-{'x' * 900}",) for n in range(200)])
    driver.fold_log()
    assert (tmp_path / "tasks.db").stat().st_size > before


def test_a_backup_is_whole_and_overwrites_nothing(driver: SQLiteDriver, library: str, tmp_path: Path) -> None:
    add(driver, "a")
    target = tmp_path / "copy.db"
    driver.backup(target)

    copy = open_driver(f"sqlite:///{target}", driver=library)
    with copy.read() as tx:
        assert tx.execute(IDS) == [("a",)]
    copy.close()
    with pytest.raises(StorageUnavailable, match="exists"):
        driver.backup(target)
    assert not list(tmp_path.glob("*.part*"))


def test_a_file_that_is_no_database(library: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_bytes(b"these are not the pages you are looking for" * 100)
    with pytest.raises(StorageCorrupt, match="not a SQLite database"):
        make(tmp_path, library).migrate()


def test_a_file_that_is_not_there_is_not_made_by_reading(library: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="liteq migrate"):
        ids(make(tmp_path, library))
    assert not list(tmp_path.iterdir())


def test_a_descriptor_that_is_closed_meanwhile_hides_no_open_file(
    driver: SQLiteDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.fstat, list[int]()

    def fstat(fd: int) -> os.stat_result:
        seen.append(fd)
        if len(seen) == 1:
            raise OSError(errno.EBADF, "closed")
        return real(fd)

    monkeypatch.setattr(os, "fstat", fstat)
    assert files.is_open_here(driver.path, but=())


def test_another_library_in_the_same_process_is_refused(library: str, tmp_path: Path) -> None:
    other = "stdlib" if library == "apsw" else "apsw"
    first = make(tmp_path, library)
    first.migrate()
    with pytest.raises(ImproperlyConfigured, match="another SQLite library"):
        ids(make(tmp_path, other))
    first.close()


def test_another_applications_file_is_refused(tmp_path: Path) -> None:
    theirs = sqlite3.connect(tmp_path / "tasks.db")
    theirs.executescript("PRAGMA application_id=77; CREATE TABLE t (x)")
    theirs.close()
    with pytest.raises(StorageUnavailable, match="another application"):
        make(tmp_path, "stdlib").migrate()


def test_a_newer_schema_is_left_alone(driver: SQLiteDriver) -> None:
    with driver.write() as tx:
        tx.execute("UPDATE liteq_meta SET value = 99 WHERE key IN ('version', 'min_writer')")
    before = driver.version()
    with pytest.raises(SchemaTooNew) as refusal:
        driver.migrate()
    assert refusal.value.found == 99
    assert driver.version() == before


def test_a_newer_schema_that_this_code_may_write_is_used(driver: SQLiteDriver) -> None:
    with driver.write() as tx:
        tx.execute("UPDATE liteq_meta SET value = 99 WHERE key = 'version'")
    assert driver.migrate() == 99


def test_migrating_again_writes_nothing(driver: SQLiteDriver) -> None:
    before = driver.version()
    assert driver.migrate() == NEWEST
    assert driver.version() == before


def test_two_libraries_on_one_file_are_refused(tmp_path: Path) -> None:
    first = make(tmp_path, "apsw")
    first.migrate()
    second = make(tmp_path, "stdlib")
    with pytest.raises(ImproperlyConfigured, match="driver=stdlib"):
        second.migrate()
    first.close()
    assert second.migrate() == NEWEST
    second.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells which files are open")
def test_apsw_refuses_a_file_that_the_application_has_open_with_sqlite3(tmp_path: Path) -> None:
    theirs = sqlite3.connect(tmp_path / "tasks.db")
    theirs.execute("CREATE TABLE t (x)")
    with pytest.raises(ImproperlyConfigured, match="driver=stdlib"):
        make(tmp_path, "apsw").migrate()
    theirs.close()


def test_a_deleted_file_is_noticed(driver: SQLiteDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(driver, "a")
    for path in tmp_path.glob("tasks.db*"):
        path.unlink()
    monkeypatch.setattr(driver, "_check_at", 0.0)
    with pytest.raises(StorageUnavailable, match="liteq migrate"):
        add(driver, "b")


def test_a_reader_notices_a_replaced_file(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that only reads, such as one that looks up the history of a run, has no write that would tell it."""
    (tmp_path / "other").mkdir()
    reader, other = make(tmp_path, library), make(tmp_path / "other", library)
    for driver, name in ((reader, "old"), (other, "new")):
        driver.migrate()
        add(driver, name)
    assert ids(reader) == ["old"]
    other.backup(tmp_path / "copy.db")
    other.close()
    for path in tmp_path.glob("tasks.db*"):
        path.unlink()
    (tmp_path / "copy.db").rename(tmp_path / "tasks.db")
    monkeypatch.setattr(reader, "_read_check_at", 0.0)
    assert ids(reader) == ["new"]
    reader.close()
