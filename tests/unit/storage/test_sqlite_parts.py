"""The parts of the SQLite engine that need no database: URLs, paths, result codes, scripts, version checks."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from liteq.exceptions import (
    ImproperlyConfigured,
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from liteq.storage.sqlite.disk import files, mounts
from liteq.storage.sqlite.doctor.describe import has_wal_reset_bug
from liteq.storage.sqlite.errors import translate
from liteq.storage.sqlite.keeping.ballast import BALLAST, Ballast
from liteq.storage.sqlite.migrate import migrations, read_versions, statements
from liteq.storage.sqlite.turns import gate
from liteq.storage.sqlite.url import parse
from liteq.storage.sqlite.waking import folders


@pytest.mark.parametrize(
    ("url", "path", "library"),
    [
        ("sqlite:///tasks.db", "tasks.db", "apsw"),
        ("liteq:///a/b.db", "a/b.db", "apsw"),
        ("sqlite:////srv/tasks.db", "/srv/tasks.db", "apsw"),
        ("sqlite+stdlib:////srv/tasks.db", "/srv/tasks.db", "stdlib"),
        ("sqlite:////srv/tasks.db?driver=stdlib", "/srv/tasks.db", "stdlib"),
        ("sqlite:////srv/with%20space%3F.db", "/srv/with space?.db", "apsw"),
    ],
)
def test_a_url_names_a_file_and_a_library(url: str, path: str, library: str) -> None:
    location = parse(url)

    assert location.path == str(Path.cwd() / path)
    assert location.library == library


def test_a_url_says_that_the_file_is_only_looked_at() -> None:
    assert parse("sqlite+stdlib:///a.db?mode=ro").read_only
    assert not parse("sqlite:///a.db?mode=rw&driver=stdlib").read_only


def test_the_library_in_the_url_wins_over_the_setting() -> None:
    assert parse("sqlite:///a.db?driver=apsw", "stdlib").library == "apsw"
    assert parse("sqlite:///a.db", "stdlib").library == "stdlib"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tasks.db", "write sqlite:///tasks.db"),
        ("redis://localhost", "write sqlite:///tasks.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://tasks.db", "names a host"),
        ("sqlite:tasks.db", "lacks the slashes"),
        ("sqlite:/srv/tasks.db", "lacks the slashes"),
        ("sqlite:///:memory:", "use a file"),
        ("sqlite://[", "cannot be read"),
        ("sqlite:///a.db?drivr=stdlib", "unknown option 'drivr', did you mean driver=?"),
        ("sqlite:///a.db?driver=mysql", "driver= is one of apsw, stdlib, not 'mysql'"),
        ("sqlite:///a.db?mode=rwc", "mode= is one of rw, ro, not 'rwc'"),
        ("sqlite:///queues#2/a.db", "write # as %23"),
        ("sqlite:///queues?2/a.db", "write ? as %3F"),
        ("sqlite:///queues\n2/a.db", "a line break as %0A"),
        ("sqlite:///" + "folder/" * 80 + "a.db", "511 bytes at most"),
    ],
)
def test_a_wrong_url_is_refused_with_one_line_that_helps(url: str, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="(?s)" + says.replace("?", r"\?")) as refusal:
        parse(url)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (5, StorageBusy),
        (5 | 2 << 8, StorageBusy),
        (6, StorageBusy),
        (8, StorageUnavailable),
        (10 | 3 << 8, StorageError),
        (11, StorageCorrupt),
        (13, StorageFull),
        (14, StorageUnavailable),
        (26, StorageCorrupt),
        (1, StorageError),
    ],
)
def test_each_result_code_has_its_exception(code: int, error: type[StorageError]) -> None:
    assert type(translate(code, "message", "/nowhere/x.db", 1.0)) is error


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ("3.6.23", False),
        ("3.40.1", True),
        ("3.44.5", True),
        ("3.44.6", False),
        ("3.45.0", True),
        ("3.50.7", False),
        ("3.51.0", True),
        ("3.51.2", True),
        ("3.51.3", False),
        ("3.54.1", False),
    ],
)
def test_the_versions_with_the_wal_reset_bug_are_known(version: str, has_it: bool) -> None:
    assert has_wal_reset_bug(version) is has_it


def test_a_script_is_cut_where_statements_end() -> None:
    script = """
-- a comment; with a semicolon
CREATE TABLE a (x TEXT DEFAULT ';');  -- and one behind
CREATE TRIGGER t AFTER INSERT ON a BEGIN
    DELETE FROM a;
END;
-- the end
"""
    found = list(statements(script, sqlite3.complete_statement))

    assert len(found) == 2
    assert found[1].startswith("CREATE TRIGGER")
    assert found[1].endswith("END;")


def test_a_script_that_ends_inside_a_statement_is_refused() -> None:
    with pytest.raises(StorageError, match="inside a statement"):
        list(statements("CREATE TABLE a (x)", sqlite3.complete_statement))


def test_migrations_are_numbered_without_a_gap() -> None:
    assert list(migrations()) == list(range(1, len(migrations()) + 1))


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    files.create(str(path))
    files.create(str(path))  # again: nothing to do

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"folder .*absent does not exist: create it"):
        files.create(str(tmp_path / "absent" / "tasks.db"))


def test_a_log_that_its_last_user_takes_along_in_this_moment_was_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, index = tmp_path / "q.db", tmp_path / "q.db-shm"
    path.touch()
    index.touch()
    with pytest.raises(StorageCorrupt, match="-wal was deleted"):
        files.check(str(path), str(path), allow_network=False)
    exists = os.path.exists

    def look(name: str) -> bool:
        found = exists(name)
        if name == str(index):
            index.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os.path, "exists", look)
    files.check(str(path), str(path), allow_network=False)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="is a folder"):
        files.check(str(tmp_path), str(tmp_path), allow_network=False)


def test_a_read_only_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "tasks.db")
    files.create(path)
    monkeypatch.setattr(os, "access", lambda place, mode: place != path)  # root may write anywhere

    with pytest.raises(StorageUnavailable, match="read-only for this user"):
        files.check(path, path, allow_network=False)


def test_a_network_file_system_is_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "tasks.db")
    files.create(path)
    monkeypatch.setattr(mounts, "file_system", lambda _: "nfs4")

    with pytest.raises(StorageUnavailable, match=r"network file system \(nfs4\).*allow_network_filesystem"):
        files.check(path, path, allow_network=False)
    files.check(path, path, allow_network=True)


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_another_user_planted_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    path = shared / "tasks.db"
    path.touch()
    os.chown(path, 12345, 12345)

    with pytest.raises(StorageUnavailable, match="belongs to another user"):
        files.check(str(path), str(path), allow_network=False)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no gate")
def test_a_turn_that_comes_in_a_moment_costs_no_place_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, place = (gate.open_gate(str(tmp_path / "queue.db")) for _ in range(2))
    assert held.acquire(1.0)
    asked: list[int] = []
    real = gate.flock

    def flock(fd: int, how: int) -> None:
        asked.append(how)
        if len(asked) == 3:  # the others' transaction has ended meanwhile
            held.release()
        real(fd, how)

    monkeypatch.setattr(gate, "MOMENT_S", 60.0)
    monkeypatch.setattr(gate, "flock", flock)
    assert place.acquire(1.0)
    assert gate.EXCLUSIVE not in asked, "it waited in the kernel's queue"
    assert len(gate.waited(str(tmp_path / "queue.db-gate"))) == 1  # a wait all the same, for the metrics
    place.leave()
    held.close()


class Tables:
    """A file with these columns in its table `liteq_meta`, whose rows cannot be read now."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns

    def execute(self, sql: str, params: object = ()) -> list[tuple[str]]:
        if "pragma_table_info" in sql:
            return [(name,) for name in self.columns]
        raise StorageBusy(1.0, "somebody")


def test_a_file_that_cannot_be_read_now_is_not_another_applications() -> None:
    assert read_versions(cast("Any", Tables()), "q.db") == (0, 0, 0)
    with pytest.raises(StorageUnavailable, match="another application"):
        read_versions(cast("Any", Tables("a", "value")), "q.db")
    with pytest.raises(StorageBusy):
        read_versions(cast("Any", Tables("key", "value")), "q.db")


def test_what_a_killed_process_left_of_a_ballast_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "q.db"
    path.touch()
    ballast = Ballast(f"{path}-ballast")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "replace", killed)
        ballast.make()
    monkeypatch.setattr(os, "getpid", lambda: 0)  # another process
    assert ballast.make()
    assert {one.name: one.stat().st_size for one in tmp_path.iterdir()} == {"q.db": 0, "q.db-ballast": BALLAST}


def test_of_two_processes_that_make_a_ballast_at_once_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that found none would refuse what is sent."""
    path = tmp_path / "q.db"
    path.touch()
    ballast = Ballast(f"{path}-ballast")
    replace = os.replace

    def late(source: str, target: str) -> None:
        replace(source, target)  # by the other process
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert ballast.make()
    assert {one.name: one.stat().st_size for one in tmp_path.iterdir()} == {"q.db": 0, "q.db-ballast": BALLAST}


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_a_folder_that_gets_the_name_of_another_is_heard(tmp_path: Path) -> None:
    folder = tmp_path / "tenants"
    folder.mkdir()
    watch = folders.Folders()
    watch.watch([str(folder)], [])
    folder.rename(tmp_path / "before")
    folder.mkdir()
    assert watch.read() == (set(), True)
    watch.watch([str(folder)], [])
    (tmp_path / "before" / "old.db-work").touch()
    (folder / "new.db-work").touch()
    assert watch.read()[0] == {str(folder / "new.db")}
    watch.close()
