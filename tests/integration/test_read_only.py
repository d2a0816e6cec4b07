"""`?mode=ro`: a queue that is looked at and never written, and a look that leaves a damaged file as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import ReadOnly, StorageCorrupt, StorageUnavailable
from liteq.states import State
from liteq.storage.driver import Bell
from liteq.storage.storage import Storage, open_storage
from liteq.testing import drain
from tests.codecs import Backwards
from tests.faults.test_bad_files import as_nobody

HOLDER = """
import sys
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
storage.migrate()
print("open", flush=True)
input()
"""


@pytest.fixture(params=["apsw", "stdlib"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path, library: str):
    app = LiteQ("shop", broker=f"sqlite+{library}:///{tmp_path}/q.db", set_as_current=False)
    app.task(name="add")(lambda a, b: a + b)
    yield app
    app.close()


@pytest.fixture
def looking(tmp_path: Path, library: str):
    """The same queue, as another program looks at it."""
    app = LiteQ("board", broker=f"sqlite+{library}:///{tmp_path}/q.db?mode=ro", set_as_current=False)
    yield app
    app.close()


def content(folder: Path) -> dict[str, bytes]:
    """The files of the queue; SQLite's index of the log is a shared memory of those that read, too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


def test_it_sees_what_others_commit_and_changes_nothing(app, looking, tmp_path):
    result = app.send_task("add", (1, 2))
    before = content(tmp_path)
    assert looking.storage.reader.find(result.id).state is State.PENDING
    assert content(tmp_path) == before
    version = looking.storage.driver.version()
    drain(app)
    assert looking.storage.driver.version() != version
    assert looking.AsyncResult(result.id).get(timeout=60) == 3


def test_what_would_be_written_is_refused(app, looking, tmp_path):
    result = app.send_task("add", (1, 2))
    before = content(tmp_path)
    for write in (
        lambda: looking.send_task("add", (1, 2)),
        lambda: looking.control.revoke(result.id),
        looking.control.purge,
        lambda: looking.limits.set("user", concurrent=1),
        looking.storage.driver.fold_log,
        lambda: looking.storage.driver.restore(tmp_path / "copy.db"),
    ):
        with pytest.raises(ReadOnly, match=r"q\.db is read-only here \(\?mode=ro"):
            write()
    looking.storage.driver.ring(Bell.WORK)
    assert content(tmp_path) == before


def test_with_a_codec_a_queue_is_looked_at_that_was_never_noted_as_sealed(app, tmp_path, library):
    result = app.send_task("add", (1, 2))
    before = content(tmp_path)
    url = f"sqlite+{library}:///{tmp_path}/q.db?mode=ro"
    with LiteQ("board", broker=url, payload_codec=Backwards(), set_as_current=False) as looking:
        assert looking.storage.reader.find(result.id).state is State.PENDING
        assert content(tmp_path) == before


def test_a_listener_hears_what_others_commit(app, looking):
    app.send_task("add", (1, 2))
    ear = looking.storage.driver.listen(Bell.DONE)
    assert not ear.clear()
    drain(app)
    assert ear.wait(60)
    ear.close()


def test_a_user_who_may_only_read_the_files_looks(app, tmp_path, library):
    for _ in range(3):
        app.send_task("add", (1, 2))
    app.close()

    def look() -> None:
        storage = open_storage(f"sqlite+{library}:///{tmp_path}/q.db?mode=ro")
        storage.migrate()
        raise ValueError(sum(count.n for count in storage.reader.counts()))

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, app.broker_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        _let_others_read(tmp_path)
        assert as_nobody(look) == "ValueError: 3"
        holder.communicate(b"\n")
    if library == "stdlib" and sys.version_info < (3, 12):  # its last close has folded the log
        assert as_nobody(look) == "ValueError: 3"
        return
    (tmp_path / "q.db-shm").unlink()
    assert "as long as a worker or another program uses the queue" in as_nobody(look)


def _let_others_read(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o644)
    for place in (folder, *folder.parents):
        if place.stat().st_uid == os.getuid():
            place.chmod(place.stat().st_mode | 0o055)


@pytest.mark.parametrize("content", ["no file", "an empty file"])
def test_a_queue_that_is_not_there_is_not_made(looking, tmp_path, content):
    if content == "an empty file":
        (tmp_path / "q.db").touch()
    with pytest.raises(StorageUnavailable, match=r"start a worker"):
        _ = looking.storage
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


# -- a log that is damaged where the tables are made


@pytest.fixture
def damaged(app, tmp_path: Path) -> Path:
    """A copy of a queue that is in its log alone; the third page of its first transaction has other bytes."""
    for _ in range(5):
        app.send_task("add", (1, 2))
    folder = tmp_path / "damaged"
    folder.mkdir()
    for name in ("q.db", "q.db-wal"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    log = bytearray((folder / "q.db-wal").read_bytes())
    place = 32 + 2 * (24 + int.from_bytes(log[8:12])) + 100
    log[place : place + 8] = b"\xff" * 8
    (folder / "q.db-wal").write_bytes(log)
    return folder


@pytest.mark.parametrize("mode", ["", "?mode=ro"])
def test_a_log_that_is_damaged_at_its_start_is_no_empty_queue(damaged, library, mode):
    before = content(damaged)
    storage: Storage = open_storage(f"sqlite+{library}:///{damaged}/q.db{mode}")
    with pytest.raises(StorageCorrupt, match=r"frame 3 is damaged.*nothing was written. Restore a backup"):
        storage.migrate()
    storage.close()
    assert content(damaged) == before


def test_the_doctor_writes_nothing(app, damaged, tmp_path, library, capsys):
    from liteq.cli import main

    app.send_task("add", (1, 2))
    for folder, code in ((tmp_path, 0), (damaged, 65)):
        before = {path.name: path.read_bytes() for path in folder.glob("q.db*") if not path.name.endswith("-shm")}
        with pytest.raises(SystemExit) as ended:
            main(["-b", f"sqlite+{library}:///{folder}/q.db", "doctor"])
        assert ended.value.code == code, capsys.readouterr()
        assert {path.name: path.read_bytes() for path in folder.glob("q.db*") if path.name in before} == before


def test_the_doctor_looks_at_a_new_file_and_makes_no_tables(tmp_path, library, capsys):
    from liteq.cli import main

    (tmp_path / "q.db").touch()
    with pytest.raises(SystemExit) as ended:
        main(["-b", f"sqlite+{library}:///{tmp_path}/q.db", "doctor"])
    assert ended.value.code == 69
    assert "has no queue yet" in capsys.readouterr().err
    assert content(tmp_path) == {"q.db": b""}
