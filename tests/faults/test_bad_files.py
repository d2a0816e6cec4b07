"""A file that is no queue, or is damaged: refused within a second, with a sentence that says what to do."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from liteq.exceptions import LiteqError, StorageCorrupt, StorageError, StorageUnavailable
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.sqlite.session import PAGE_SIZE
from liteq.storage.storage import Storage, open_storage

from .harness import Drill, integrity, wait_for
from .sizes import size

FLIPS = size("FLIPS", 20, 200)
NOBODY = 65534

pytestmark = pytest.mark.timeout(1800)
posix = pytest.mark.skipif(os.name != "posix", reason="modes and users are POSIX's")


def queue_at(path: Path, messages: int = 200) -> Path:
    """A queue of some messages, with its log folded and closed."""
    storage = open_storage(f"sqlite:///{path}")
    storage.migrate()
    storage.enqueue_many([Message(new_id(), "t", b'[["%b"],{}]' % (b"x" * 400)) for _ in range(messages)])
    storage.driver.fold_log()
    storage.close()
    return path


def no_folder(folder: Path) -> Path:
    return folder / "missing" / "queue.db"


def a_folder(folder: Path) -> Path:
    path = folder / "queue.db"
    path.mkdir()
    return path


def a_text(folder: Path) -> Path:
    path = folder / "queue.db"
    path.write_text("Dear diary, this is no database. " * 200)
    return path


def a_fifo(folder: Path) -> Path:
    path = folder / "queue.db"
    os.mkfifo(path)
    return path


def without_sidecars(path: Path) -> Path:
    for suffix in ("-wal", "-shm"):
        os.remove(f"{path}{suffix}")
    return path


def truncated(folder: Path) -> Path:
    path = without_sidecars(queue_at(folder / "queue.db"))
    os.truncate(path, os.stat(path).st_size // 2)
    return path


def without_log(folder: Path) -> Path:
    path = folder / "queue.db"
    storage = open_storage(f"sqlite:///{path}")
    storage.migrate()
    storage.close()
    os.remove(f"{path}-wal")
    return path


def bad_header(folder: Path) -> Path:
    path = without_sidecars(queue_at(folder / "queue.db"))  # a log would still hold the first page
    with path.open("r+b") as file:
        file.write(b"\0" * 40)
    return path


def anothers_database(folder: Path) -> Path:
    path = folder / "queue.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA application_id = 252006674; CREATE TABLE liteq_meta (a)")
    connection.close()
    return path


BAD: list[tuple[Callable[[Path], Path], type[StorageError], str]] = [
    (no_folder, StorageUnavailable, "create it"),
    (a_folder, StorageUnavailable, "is a folder: name a file inside it"),
    (a_text, StorageCorrupt, "is not a SQLite database: name another file"),
    (a_fifo, StorageUnavailable, "is not a regular file: name another"),
    (truncated, StorageCorrupt, "restore a backup"),
    (without_log, StorageCorrupt, "was deleted.*restore a backup"),
    (bad_header, StorageCorrupt, "is not a SQLite database: name another file"),
    (anothers_database, StorageUnavailable, "of another application.*name another file"),
]
bad = pytest.mark.parametrize(("make", "kind", "says"), BAD, ids=[make.__name__ for make, _, _ in BAD])


@posix
@bad
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_a_bad_file_is_refused_within_a_second(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[StorageError], says: str, library: str
) -> None:
    path = make(tmp_path)
    began = time.monotonic()
    storage = open_storage(f"sqlite:///{path}?driver={library}")
    with pytest.raises(kind, match=says):
        storage.migrate()
    with pytest.raises(kind):
        storage.reader.counts()
    assert time.monotonic() - began < 20.0, "a second, and what a busy machine adds; a lock is waited for 30 s"


@posix
@bad
def test_a_worker_ends_at_once_and_does_not_spin(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[StorageError], says: str
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    drill = Drill(tmp_path)
    drill.settings["DRILL_BROKER"] = f"sqlite:///{make(folder)}"
    worker = drill.worker()
    try:
        assert worker.wait(timeout=60) in {65, 69}
    finally:
        drill.close()
    text = drill.log()
    assert "Traceback" not in text
    assert text.count("\n") < 10, text


@posix
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.chmod(0o400), "the file .* is read-only for this user"),
        (lambda path: path.chmod(0o000), "the file .* is read-only for this user"),
        (lambda path: path.parent.chmod(0o500), "the folder .* is read-only for this user"),
    ],
    ids=["file read-only", "file without mode", "folder read-only"],
)
def test_a_file_that_this_user_may_not_write_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    path = queue_at(folder / "queue.db", messages=1)
    for place in (folder, *folder.iterdir()):
        shutil.chown(place, NOBODY if os.geteuid() == 0 else os.geteuid())
    for place in (tmp_path, *list(tmp_path.parents)[:3]):
        if place.stat().st_uid == os.geteuid():
            place.chmod(place.stat().st_mode | 0o011)
    spoil(path)
    text = as_nobody(lambda: open_storage(f"sqlite:///{path}").migrate())
    folder.chmod(0o700)
    assert text.startswith("StorageUnavailable")
    assert re.search(says, text), text


def as_nobody(action: Callable[[], object]) -> str:
    """The error that `action` raises in a child process of a user without rights, if this one has any."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "nothing was raised"
        try:
            if os.geteuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            action()
        except BaseException as exc:
            text = f"{type(exc).__name__}: {exc}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


SENDS_UNDER_A_LIMIT = """
import resource, sys
from liteq import LiteQ
app = LiteQ("limited", broker=sys.argv[1])
task = app.task(lambda text: None, name="t")
task.delay("accepted")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    for _ in range(100):
        task.delay("x" * 40_000)
except Exception as exc:
    print(type(exc).__name__, exc)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
task.delay("goes on")
"""


@posix
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_a_limit_of_file_sizes_is_told_as_such_and_not_as_a_failed_disk(tmp_path: Path, library: str) -> None:
    url = f"sqlite:///{tmp_path / 'queue.db'}?driver={library}"
    sent = subprocess.run([sys.executable, "-c", SENDS_UNDER_A_LIMIT, url], capture_output=True, text=True)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert re.match(r"StorageError .*queue.db: this process may write no file larger than 1,000,000 bytes", sent.stdout)
    assert "ulimit -f" in sent.stdout
    assert integrity(tmp_path / "queue.db") == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_read_only_file_system_is_told_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "liteq-test", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {done.stderr.strip()}")
    try:
        path = queue_at(folder / "queue.db", messages=1)
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        with pytest.raises(StorageUnavailable, match="is read-only for this user"):
            open_storage(f"sqlite:///{path}").migrate()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# -- damage inside ---------------------------------------------------------------------------------------------------


def use(storage: Storage) -> None:
    """Everything that a worker and a producer do."""
    storage.migrate()
    worker = storage.register_worker(WorkerIdentity(new_id(), "w", "host", "boot", 1, "1"))
    storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
    storage.settle(
        [(lease, Ack(b"1")) for lease in storage.claim(["celery"], worker=worker, limit=1000, visibility_s=9)]
    )
    storage.reader.counts()
    storage.expire(result_expires_s=0.001, dead_expires_s=0.001)


def test_flipped_bytes_are_told_as_damage_or_found_by_the_doctor(tmp_path: Path) -> None:
    rng = random.Random(5)
    original = queue_at(tmp_path / "original.db", messages=600)  # most of its pages are theirs, few of empty tables
    told = found = 0
    for n in range(FLIPS):
        path = tmp_path / f"{n}.db"
        data = bytearray(original.read_bytes())
        page = rng.randrange(len(data) // PAGE_SIZE) * PAGE_SIZE
        for _ in range(8):  # near a page's start are its pointers
            data[page + rng.randrange(64)] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        storage = open_storage(f"sqlite:///{path}", busy_timeout_s=0.5)
        began = time.monotonic()
        try:
            use(storage)
        except LiteqError as exc:
            told += isinstance(exc, StorageCorrupt)
        try:
            found += storage.driver.describe()["integrity"] != "ok"
        except LiteqError as exc:
            found += isinstance(exc, StorageCorrupt)
        assert time.monotonic() - began < 10
        storage.close()
        path.unlink()
    # Some hit what nothing looks at: free space, or the bytes of a payload, which SQLite has no checksum for.
    assert told > FLIPS // 2
    assert found > FLIPS // 2


@posix
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_a_log_that_is_deleted_under_running_processes_is_noticed_and_loses_nothing(
    tmp_path: Path, library: str, suffix: str
) -> None:
    drill = Drill(tmp_path, settings={"LITEQ_SQLITE_DRIVER": library})
    url = f"sqlite:///{drill.db}?driver={library}"
    drill.settings["DRILL_BROKER"] = url
    storage = open_storage(url)
    storage.migrate()
    worker = drill.worker(children=1)
    accepted = [drill.send(storage, "work", n) for n in range(50)]
    wait_for(lambda: len(drill.ledger()) == len(accepted))
    os.remove(f"{drill.db}{suffix}")
    with pytest.raises(StorageCorrupt, match=f"{suffix} was deleted while .*stop all of them"):
        send_for_long(drill, storage, accepted)
    if suffix == "-wal":
        assert drill.worker(name="newcomer").wait(timeout=60) == 65, "who comes now must not begin a new log"
    wait_for(lambda: f"{suffix} was deleted while" in drill.log())
    worker.send_signal(signal.SIGQUIT)
    assert worker.wait(timeout=60) == 1
    storage.close()
    if suffix == "-wal":
        Path(f"{drill.db}-shm").unlink(missing_ok=True)  # as the message says
    storage = open_storage(url)
    records = storage.reader.find_many(accepted)
    assert len(records) == len(accepted)
    storage.close()
    assert integrity(drill.db) == "ok"
    drill.close()


def send_for_long(drill: Drill, storage: Storage, accepted: list[str]) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        accepted.append(drill.send(storage, "work", 1))


def test_a_worker_whose_file_turns_bad_goes_on_trying_calmly(tmp_path: Path) -> None:
    """Damaged under a worker that has a result to store: it tells so, and neither spins nor floods the log."""
    drill = Drill(tmp_path)
    storage = drill.storage()
    worker = drill.worker(children=1)
    go = tmp_path / "go"
    drill.send(storage, "until", str(go))
    wait_for(drill.ledger)
    storage.driver.fold_log()
    storage.close()
    with drill.db.open("r+b") as file:  # no connection of this process is open: its locks are not at stake
        file.seek(0)
        file.write(os.urandom(8192))
    os.truncate(f"{drill.db}-wal", 0)
    os.remove(f"{drill.db}-shm")
    try:
        # That its index is gone, or, where it looked in between, that this is no database.
        wait_for(lambda: "the queue cannot be used at the moment" in drill.log())
        go.touch()
        used_s, lines, began = cpu_s(worker.pid), drill.log().count("\n"), time.monotonic()
        wait_for(lambda: time.monotonic() > began + 2.5 or worker.poll() is not None)
        assert worker.poll() is None
        used_s, lines = cpu_s(worker.pid) - used_s, drill.log().count("\n") - lines
        watched_s = time.monotonic() - began
        assert used_s < 0.35 * watched_s
        assert lines < 20 * watched_s
        worker.send_signal(signal.SIGQUIT)
        assert worker.wait(timeout=60) == 1
    finally:
        drill.close()


def cpu_s(pid: int) -> float:
    """The processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
