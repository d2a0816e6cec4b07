"""`liteq backup --to DIR --keep N`: names by time, and of old ones only this queue's own go."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from liteq.operating import backups
from liteq.storage import open_driver

NAME = re.compile(r"shop-\d{8}T\d{6}Z\.db")


@pytest.fixture
def shop(liteq) -> Callable[..., object]:
    """The command, on a queue with one message."""
    assert liteq("-A", "shop", "call", "shop.add", "-a", "[1, 2]", "--task-id", "one").code == 0
    return lambda *args: liteq("-A", "shop", *args)


@pytest.fixture
def folder(project) -> Path:
    made = project / "backups"
    made.mkdir()
    return made


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))


def lay_out(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("old")


def test_a_backup_goes_into_a_folder_under_a_name_with_its_time(shop, liteq, folder):
    done = shop("backup", "--to", "backups", "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert (document["removed"], document["bytes"]) == ([], os.stat(document["path"]).st_size)
    assert [Path(document["path"]).name] == kept(folder)
    found = liteq("-b", f"sqlite:///{document['path']}", "inspect", "messages", "--json").json
    assert [one["id"] for one in found] == ["one"]


def test_two_in_a_second_have_two_names(shop, folder):
    shop("backup", "--to", "backups")
    shop("backup", "--to", "backups")
    assert len(kept(folder)) == 2


def test_the_newest_are_kept_and_only_this_queues_own_go(shop, folder):
    others = [
        "shop-20200101T000000Z.sqlite", "shop2-20200101T000000Z.db", "myshop-20200101T000000Z.db", "shop.db",
        "shop-20200101T000000Z.db.gz", "shop-20200101.db", "notes.txt",
    ]  # fmt: skip
    lay_out(folder, *others, "shop-20200101T000000Z.db", "shop-20200102T000000Z.db", "shop-20200103T000000Z.db")
    (folder / "shop-20190101T000000Z.db").symlink_to(folder / "notes.txt")
    (folder / "shop-20180101T000000Z.db").mkdir()
    done = shop("backup", "--to", "backups", "--keep", "2", "--json")
    assert [Path(path).name for path in json.loads(done.out)["removed"]] == [
        "shop-20200101T000000Z.db", "shop-20200102T000000Z.db"
    ]  # fmt: skip
    assert all((folder / name).exists() for name in others)
    assert kept(folder)[:3] == ["shop-20180101T000000Z.db", "shop-20190101T000000Z.db", "shop-20200103T000000Z.db"]
    assert len(kept(folder)) == 4


def test_the_new_one_stays_although_the_clock_was_set_back(shop, folder):
    lay_out(folder, "shop-20990101T000000Z.db", "shop-20990102T000000Z.db")
    path = json.loads(shop("backup", "--to", "backups", "--keep", "1", "--json").out)["path"]
    assert kept(folder) == [Path(path).name]


def test_a_backup_that_fails_removes_none_of_before(shop, folder, monkeypatch):
    def damaged(*_: object) -> None:
        raise backups.StorageError("the file is damaged")

    lay_out(folder, "shop-20200101T000000Z.db", "shop-20200102T000000Z.db")
    monkeypatch.setattr("liteq.storage.storage.Storage.backup", damaged)
    done = shop("backup", "--to", "backups", "--keep", "1")
    assert (done.code, done.out) == (69, "")
    assert kept(folder) == ["shop-20200101T000000Z.db", "shop-20200102T000000Z.db"]


def test_what_a_killed_one_left_behind_goes(shop, folder):
    lay_out(folder, "shop-20200101T000000Z.db.part77", "shop-20200101T000000Z.db.part77-wal", "shop.db.part77")
    shop("backup", "--to", "backups")
    assert sorted(path.name for path in folder.glob("*.part*")) == ["shop.db.part77"]


@pytest.mark.parametrize("was_killed", [False, True], ids=["", "a process was killed before it wrote whose they are"])
def test_a_folder_with_another_queues_backups_is_refused(shop, liteq, folder, project, was_killed):
    (project / "other").mkdir()
    assert liteq("-b", f"sqlite:///{project}/other/shop.db", "migrate").code == 0
    if was_killed:
        (folder / ".shop.db.backups").touch()
    shop("backup", "--to", "backups")
    done = liteq("-b", f"sqlite:///{project}/other/shop.db", "backup", "--to", "backups", "--keep", "1")
    assert done.code == 73
    assert f"has the backups of {project}/shop.db" in done.err
    assert len(kept(folder)) == 1


def test_two_do_not_write_into_a_folder_at_once(shop, folder, project):
    fd = os.open(folder, os.O_RDONLY)
    try:
        backups.fcntl.flock(fd, backups.fcntl.LOCK_EX)
        done = shop("backup", "--to", "backups")
    finally:
        os.close(fd)
    assert done.code == 75
    assert "another process writes a backup" in done.err
    assert shop("backup", "--to", "backups").code == 0


def test_options_that_do_not_fit_are_refused(shop, folder):
    for words in (
        ["--keep", "3", "a.db"],
        ["--every", "1h"],
        [],
        ["a.db", "--to", "backups"],
        ["--to", "b", "--keep", "0"],
    ):
        assert shop("backup", *words).code == 2
    assert "'30s', '5m'" in shop("backup", "--to", "backups", "--every", "soon").err
    assert shop("backup", "--to", "nowhere").code == 73


def test_a_backup_opens_as_a_queue(shop, folder):
    path = json.loads(shop("backup", "--to", "backups", "--json").out)["path"]
    facts = open_driver(f"sqlite:///{path}").describe()
    assert facts["integrity"] == "ok"
