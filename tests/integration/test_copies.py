"""`?mode=ro` on a copy and on a replica that Litestream writes: nothing is made, and its age is told."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.cli import main
from liteq.exceptions import ReadOnly, StorageBusy, StorageUnavailable
from liteq.states import State
from liteq.storage.driver import Bell
from liteq.storage.sqlite import copies
from liteq.storage.sqlite.turns import fork
from liteq.testing import drain
from tests.followers import content, followed

LOOKS = ["status", "inspect messages", "inspect queues", "doctor", "why {id}", "dead list", "result {id}"]
if find_spec("prometheus_client"):
    LOOKS.append("metrics")


@pytest.fixture(params=["apsw", "stdlib"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(tmp_path: Path):
    app = LiteQ("shop", broker=f"sqlite:///{tmp_path}/q.db", set_as_current=False)
    app.task(name="add")(lambda a, b: a + b)
    app.storage.migrate()
    yield app
    app.close()


def wal_copy(app: LiteQ, folder: Path) -> Path:
    """A copy that says in its header that it has a log, as one of Litestream's or of sqlite3_rsync."""
    folder.mkdir()
    app.storage.driver.fold_log()
    path = folder / "q.db"
    shutil.copy(str(app.storage.driver.where()), path)
    assert path.read_bytes()[18:20] == b"\2\2"
    return path


def looking(path: Path, library: str = "apsw") -> LiteQ:
    return LiteQ("board", broker=f"sqlite+{library}:///{path}?mode=ro", set_as_current=False)


def run(capsys: pytest.CaptureFixture[str], url: str, words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["-b", url, *words.split()])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize("kind", ["backup", "as it was"])
def test_commands_make_no_file_and_tell_the_age(app, tmp_path, kind, capsys):
    id_ = app.send_task("add", (1, 2)).id
    if kind == "backup":
        (tmp_path / "copy").mkdir()
        path = tmp_path / "copy" / "q.db"
        app.storage.backup(path)
    else:
        path = wal_copy(app, tmp_path / "copy")
    then = time.time() - 12
    os.utime(path, (then, then))
    before = content(path.parent)
    for words in LOOKS:
        code, _, err = run(capsys, f"sqlite:///{path}?mode=ro", words.format(id=id_))
        assert code == (75 if words.startswith("result") else 0), (words, err)
        assert "q.db is a copy: what is shown is 1" in err, words
        assert " s old" in err, words
        assert content(path.parent) == before, words
    code, out, _ = run(capsys, f"sqlite:///{path}?mode=ro", "doctor --json")
    assert 12 <= json.loads(out)["storage"]["age_s"] < 120


def test_what_is_read_is_the_queue_itself_where_a_log_stands_beside_it(app, tmp_path, capsys):
    app.send_task("add", (1, 2))
    code, out, err = run(capsys, f"sqlite:///{tmp_path}/q.db?mode=ro", "doctor --json")
    assert (code, json.loads(out)["storage"]["age_s"]) == (0, 0)
    assert "old" not in err


def test_status_shows_the_workers_that_are_in_the_file(app, tmp_path, capsys):
    from liteq.context.identity import me

    app.storage.register_worker(me("liteq@far"))
    path = wal_copy(app, tmp_path / "copy")
    then = time.time() - 300
    os.utime(path, (then, then))
    code, out, _ = run(capsys, f"sqlite:///{path}?mode=ro", "status")
    assert code == 0
    assert "->  liteq@far: heartbeat" in out
    code, out, _ = run(capsys, f"sqlite:///{path}?mode=ro", "status --json")
    assert (code, list(json.loads(out))) == (0, ["liteq@far"])


def test_events_of_a_copy_are_shown_and_no_worker_is_asked_to_beat(app, tmp_path):
    from liteq.context.identity import me

    app.storage.register_worker(me("liteq@far"))
    app.storage.events.put([b'{"type": "task-sent", "timestamp": 1.0, "hostname": "liteq@far", "uuid": "a"}'])
    path = wal_copy(app, tmp_path / "copy")
    seen = []
    with looking(path) as board:
        receiver = board.events.Receiver(handlers={"*": lambda event: seen.append(event["type"])})
        receiver.capture(limit=1, timeout=60)
    assert seen == ["worker-heartbeat"]


@pytest.mark.parametrize(
    "words", ["call add", "purge -f", "inspect active", "control shutdown", "queue pause celery", "mark go"]
)
def test_what_writes_is_refused(app, tmp_path, capsys, words):
    app.send_task("add", (1, 2))
    path = wal_copy(app, tmp_path / "copy")
    before = content(path.parent)
    code, _, err = run(capsys, f"sqlite:///{path}?mode=ro", words)
    assert (code, "read-only" in err) == (69, True), err
    assert content(path.parent) == before


def test_a_copy_is_read_by_either_library(app, tmp_path, library):
    result = app.send_task("add", (1, 2))
    path = wal_copy(app, tmp_path / "copy")
    with looking(path, library) as board:
        assert board.storage.reader.find(result.id).state is State.PENDING
        with pytest.raises(ReadOnly):
            board.send_task("add")
    assert [entry.name for entry in path.parent.iterdir()] == ["q.db"]


def test_pages_that_have_been_read_are_read_again_when_they_have_changed(app, tmp_path, library):
    """A follower writes pages past SQLite, and changes no counter that would tell a connection of it."""
    first = app.send_task("add", (1, 2))
    path = wal_copy(app, tmp_path / "copy")
    with looking(path, library) as board:
        assert board.storage.reader.find(first.id) is not None
        ear = board.storage.driver.listen(Bell.DONE)
        second = app.send_task("add", (3, 4))
        drain(app)
        app.storage.driver.fold_log()
        path.write_bytes((tmp_path / "q.db").read_bytes())
        assert ear.wait(60)
        assert board.storage.reader.find(second.id).state is State.SUCCEEDED


def test_a_read_holds_a_follower_up_and_a_follower_holds_up_a_read(app, tmp_path):
    path = wal_copy(app, tmp_path / "copy")
    other = copies.Hold(str(path))
    with looking(path) as board:
        with board.storage.driver.read() as tx:
            tx.execute("SELECT 1 FROM liteq_meta")
            assert not may_write(path)
        assert may_write(path)
        with board.storage.driver.read(), board.storage.driver.read():  # nested, as a page's reads are
            other.take(1)
            other.leave()
    other.close()


def test_a_read_inside_a_read_does_not_wait_for_a_follower_that_waits_for_both(app, tmp_path):
    import fcntl
    import struct

    path = wal_copy(app, tmp_path / "copy")
    with looking(path) as board, ExitStack() as stack:
        with board.storage.driver.read() as outer:
            outer.execute("SELECT 1 FROM liteq_meta")
            follower = stack.enter_context(path.open("r+b"))
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, copies.PENDING, 1, 0)
            fcntl.fcntl(follower, fcntl.F_OFD_SETLK, lock)  # as Litestream has it while it waits for readers
            board.storage.driver.busy_timeout_s = 0.2
            with board.storage.driver.read() as inner:
                assert inner.execute("SELECT 1 FROM liteq_meta")
        with pytest.raises(StorageBusy), board.storage.driver.read():  # the next one lets it write first
            pass


def may_write(path: Path) -> bool:
    """Whether Litestream would get its lock now, without waiting."""
    import fcntl
    import struct

    with path.open("r+b") as file:
        try:
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, copies.SHARED, copies.SHARED_BYTES, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
    return True


def test_a_copy_that_comes_into_use_is_read_with_its_log(app, tmp_path):
    app.send_task("add", (1, 2))
    path = wal_copy(app, tmp_path / "copy")
    with looking(path) as board, LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False) as again:
        assert board.storage.driver.age_s() is not None
        result = again.send_task("add", (3, 4))
        assert board.storage.driver.age_s() is None
        assert board.storage.reader.find(result.id).state is State.PENDING


def test_a_followed_replica_is_never_opened_to_be_written(app, tmp_path):
    path = wal_copy(app, tmp_path / "copy")
    Path(f"{path}-txid").write_text("0000000000000007\n")
    before = content(path.parent)
    with (
        LiteQ("shop", broker=f"sqlite:///{path}", set_as_current=False) as wrong,
        pytest.raises(StorageUnavailable, match=r"replica that Litestream writes.*\?mode=ro.*liteq restore"),
    ):
        wrong.send_task("add")
    assert content(path.parent) == before


def test_an_empty_log_that_another_program_left_beside_a_replica_hides_nothing(app, tmp_path):
    result = app.send_task("add", (1, 2))
    path = wal_copy(app, tmp_path / "copy")
    Path(f"{path}-txid").write_text("0000000000000007\n")
    Path(f"{path}-wal").touch()
    Path(f"{path}-shm").write_bytes(bytes(32768))
    before = content(path.parent)
    with looking(path) as board:
        assert board.storage.reader.find(result.id) is not None
    assert content(path.parent) == before


def test_a_real_replica_is_read_while_it_follows(app, tmp_path, eventually, library):
    first = app.send_task("add", (1, 2))
    with followed(tmp_path / "q.db", tmp_path / "ls") as pair:
        with looking(pair.replica, library) as board:
            eventually(lambda: board.storage.reader.find(first.id) is not None)
            ids = [app.send_task("add", (n, n)).id for n in range(200)]  # the file grows: the first page changes too
            stop, found = threading.Event(), []

            def look() -> None:
                while not stop.is_set():
                    found.append(len(board.storage.reader.find_many(ids)))

            looker = threading.Thread(target=look)
            looker.start()
            try:
                eventually(lambda: found and found[-1] == len(ids))
            finally:
                stop.set()
                looker.join()
            assert found == sorted(found)
            assert board.storage.driver.describe()["integrity"] == "ok"
        assert pair.files() == ["q.db", "q.db-txid"]
        assert pair.follower.poll() is None


def test_a_queue_that_rests_is_no_copy_and_is_left_without_a_log(app, tmp_path, capsys):
    app.send_task("add", (1, 2))
    app.storage.driver.fold_log()
    app.close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"q.db{suffix}").unlink(missing_ok=True)
    before = content(tmp_path)
    code, out, err = run(capsys, f"sqlite:///{tmp_path}/q.db", "doctor --json")
    assert (code, json.loads(out)["storage"]["age_s"], json.loads(out)["storage"]["copy"]) == (0, 0, False)
    assert "copy" not in err
    assert content(tmp_path) == before


def test_a_connection_that_nobody_closed_leaves_no_lock_and_takes_none_when_it_is_collected(app, tmp_path):
    path = wal_copy(app, tmp_path / "copy")
    hold = copies.Hold(str(path))
    hold.take(1)
    with fork._registering:  # the collector may run where a thread has this lock
        del hold
    assert may_write(path)
    left = [fd for _, fd in copies.LEFT]
    assert left
    other = copies.Hold(str(path))
    other.take(1)
    assert copies.LEFT == []
    other.close()


def test_a_copy_is_opened_again_while_the_lock_of_an_earlier_look_is_still_there(app, tmp_path):
    path = wal_copy(app, tmp_path / "copy")
    hold = copies.Hold(str(path))
    hold.take(1)
    del hold  # nobody closed it: its descriptor is there until the next look
    assert str(path) in {os.readlink(f"/proc/self/fd/{fd}") for _, fd in copies.LEFT}
    reader = LiteQ("again", broker=f"sqlite:///{path}?mode=ro", set_as_current=False)
    assert [count.total for count in reader.storage.reader.counts()] == []
    reader.close()
