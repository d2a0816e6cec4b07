"""The files belong to the queue's owner: no side file of another user is used, and none lies where others may look."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import LiteqError, StorageCorrupt, StorageUnavailable
from liteq.message import Message, new_id
from liteq.storage.sqlite.disk import mounts
from liteq.storage.sqlite.disk.ownership import SIDE_FILES
from liteq.storage.sqlite.keeping.ballast import BALLAST, Ballast
from liteq.storage.storage import Storage, open_storage

STRANGER, OWNER, DEPLOY, GROUP = 4002, 4001, 4003, 4010

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="owners, modes and mounts are POSIX's"),
]
as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root makes another user's files")


def queue(path: Path, messages: int = 3) -> Storage:
    storage = open_storage(f"sqlite:///{path}", busy_timeout_s=2)
    storage.migrate()
    storage.enqueue_many([Message(new_id(), "t", b"[[],{}]") for _ in range(messages)])
    return storage


def as_user(uid: int, gid: int, call: Callable[[], object]) -> str:
    """The error that `call` raises, "" where it does not, in a process of another user."""
    back, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = ""
        try:
            os.umask(0o002)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            call()
        except BaseException as exc:
            said = f"{type(exc).__name__}: {exc}"
        os.write(out, said.encode()[:4000])
        os._exit(0)
    os.close(out)
    with os.fdopen(back, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that other users come to; pytest's own are closed to them, and so may be the modules of this Python."""
    with tempfile.TemporaryDirectory(prefix="liteq-shared-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        queue(folder / "warm.db").close()
        yield folder


@as_root
@pytest.mark.parametrize("suffix", SIDE_FILES)
def test_a_side_file_of_another_user_is_refused(tmp_path: Path, suffix: str) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    planted = shared / f"queue.db{suffix}"
    planted.touch()
    planted.chmod(0o666)
    os.chown(planted, STRANGER, STRANGER)
    with pytest.raises(StorageUnavailable, match=f"queue.db{suffix} is not used.*belongs to another user"):
        queue(shared / "queue.db")
    assert planted.stat().st_size == 0


@as_root
@pytest.mark.parametrize("suffix", ["-gate", "-work", "-ballast"])
def test_a_side_file_that_is_laid_out_later_is_refused_too(tmp_path: Path, suffix: str) -> None:
    """A file that liteq makes at its first use is checked by its open descriptor, not by a look beforehand."""
    from liteq.storage.sqlite.disk.ownership import open_sidecar

    storage = queue(tmp_path / "queue.db")
    side = tmp_path / f"queue.db{suffix}"
    side.unlink(missing_ok=True)
    side.touch()
    os.chown(side, STRANGER, STRANGER)
    with pytest.raises(StorageUnavailable, match="belongs to another user"):
        open_sidecar(str(side))
    storage.close()


@as_root
def test_a_log_that_is_laid_out_between_two_connections_is_refused(tmp_path: Path) -> None:
    storage = queue(tmp_path / "queue.db")
    storage.driver.fold_log()
    os.chown(tmp_path / "queue.db-wal", STRANGER, STRANGER)
    with pytest.raises(StorageUnavailable, match=r"queue.db-wal is not used"), storage.driver.read():
        storage.driver._open(storage.driver.new_session(reader=True))  # type: ignore[attr-defined]
    storage.close()


@as_root
def test_the_ballast_of_another_user_says_nothing_and_a_link_in_its_place_harms_nothing(tmp_path: Path) -> None:
    queue(tmp_path / "queue.db").close()
    ballast, victim = Ballast(str(tmp_path / "queue.db-ballast")), tmp_path / "victim"
    path = Path(ballast.path)
    path.touch()
    assert ballast.in_use()
    os.chown(path, STRANGER, STRANGER)
    assert not ballast.in_use(), "an empty file of his says that the disk is full"
    path.unlink()
    victim.write_bytes(b"precious" * BALLAST)
    path.symlink_to(victim)
    assert not ballast.drop()
    assert victim.stat().st_size == 8 * BALLAST


@as_root
def test_a_group_shares_a_queue_whichever_of_its_users_made_the_side_files(reachable: Path) -> None:
    folder = reachable / "shared"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2770)
    path = folder / "queue.db"

    def sends() -> None:
        storage = queue(path)
        storage.close()

    assert as_user(OWNER, GROUP, sends) == ""
    for suffix in SIDE_FILES:
        (folder / f"queue.db{suffix}").unlink(missing_ok=True)
    path.chmod(0o660)
    for uid in (DEPLOY, OWNER, DEPLOY):
        assert as_user(uid, GROUP, sends) == "", f"uid {uid}"
    modes = {side.name: oct(side.stat().st_mode & 0o777) for side in folder.iterdir()}
    assert set(modes.values()) == {"0o660"}, modes
    assert (folder / "queue.db-gate").stat().st_uid == DEPLOY
    (folder / "queue.db-gate").chmod(0o666)
    assert "is not used" in as_user(OWNER, GROUP, sends), "a bit more than the database"


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    """Made anew, the database would have SQLite delete the log, and what was accepted last with it."""
    queue(tmp_path / "queue.db", messages=300).close()
    log = (tmp_path / "queue.db-wal").read_bytes()
    os.rename(tmp_path / "queue.db", tmp_path / "moved.db")
    app = LiteQ("moved", broker=f"sqlite:///{tmp_path / 'queue.db'}")
    for _ in range(2):
        with pytest.raises(StorageCorrupt, match=r"moved or deleted without its log"):
            app.task(lambda: None, name="t").delay()
    looked = subprocess.run(
        [sys.executable, "-m", "liteq", "-b", app.broker_url, "doctor"], capture_output=True, text=True
    )
    assert (looked.returncode, "moved or deleted without its log" in looked.stderr) == (69, True), looked.stderr
    (tmp_path / "queue.db").touch()  # what a careless repair leaves
    with pytest.raises(StorageCorrupt, match=r"moved or deleted without its log"):
        app.storage.migrate()
    assert (tmp_path / "queue.db-wal").read_bytes() == log
    os.replace(tmp_path / "moved.db", tmp_path / "queue.db")
    assert sum(count.n for count in app.storage.reader.counts()) == 300
    app.storage.close()


def test_a_process_whose_database_was_moved_is_told_that_its_log_is_there(tmp_path: Path) -> None:
    storage = queue(tmp_path / "queue.db", messages=1)
    os.rename(tmp_path / "queue.db", tmp_path / "moved.db")
    with pytest.raises(StorageUnavailable, match=r"moved or deleted without its log .*put the database back"):
        while True:  # it looks at its path now and then
            storage.reader.counts()
    os.rename(tmp_path / "moved.db", tmp_path / "queue.db")
    assert sum(count.n for count in storage.reader.counts()) == 1
    storage.close()


def in_a_mount(tmp_path: Path, mount: str, *command: str) -> subprocess.CompletedProcess[str]:
    """`command` in a mount namespace of its own, after the shell command `mount`."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a mount namespace")
    return subprocess.run(
        [unshare, "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command],
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["doctor", "worker"])
def test_a_database_that_is_mounted_alone_is_refused(tmp_path: Path, command: str) -> None:
    """Its log would lie in another folder for each side: neither sees what the other commits."""
    host, container = tmp_path / "host", tmp_path / "container"
    host.mkdir()
    container.mkdir()
    queue(host / "queue.db").close()
    (container / "queue.db").touch()
    (tmp_path / "mounted_app.py").write_text(
        f"from liteq import LiteQ\napp = LiteQ('mounted', broker='sqlite:///{container}/queue.db')\n"
        "app.task(abs, name='abs')\n"
    )
    mount = f"mount --bind {host}/queue.db {container}/queue.db"
    done = in_a_mount(tmp_path, mount, sys.executable, "-m", "liteq", "-A", "mounted_app", command)
    assert done.returncode != 0
    assert "is mounted alone" in done.stdout + done.stderr
    folder = f"mount --bind {host} {container}"
    if command == "doctor":
        whole = in_a_mount(tmp_path, folder, sys.executable, "-m", "liteq", "-A", "mounted_app", command)
        assert whole.returncode == 0, whole.stdout + whole.stderr


@pytest.mark.parametrize("kind", ["nfs4", "9p", "virtiofs", "fakeowner", "fuse.grpcfuse", "osxfs", "vboxsf", "vmhgfs",
                                  "prl_fs", "drvfs"])  # fmt: skip
def test_a_file_system_that_machines_share_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(mounts, "_mounts", lambda: [("/", "ext4"), (str(tmp_path), kind)])
    with pytest.raises(StorageUnavailable, match=rf"\({kind}\).*allow_network_filesystem"):
        queue(tmp_path / "queue.db")
    open_storage(f"sqlite:///{tmp_path / 'queue.db'}", allow_network_filesystem=True).migrate()


@as_root
def test_a_restore_by_root_keeps_owner_and_mode_and_else_goes_by_the_folder(reachable: Path) -> None:
    folder = reachable / "service"
    folder.mkdir()
    os.chown(folder, OWNER, GROUP)
    copy = reachable / "copy.db"
    made = queue(reachable / "source.db")
    made.backup(copy)
    made.close()
    path = folder / "queue.db"

    def sends() -> None:
        queue(path).close()

    storage = open_storage(f"sqlite:///{path}")
    assert storage.driver.restore(copy) is None
    storage.close()
    assert (path.stat().st_uid, path.stat().st_gid) == (OWNER, GROUP)
    assert as_user(OWNER, GROUP, sends) == ""
    path.chmod(0o640)
    assert storage.driver.restore(copy) is not None
    storage.close()
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (OWNER, GROUP, 0o640)
    assert as_user(OWNER, GROUP, sends) == ""


def test_what_is_refused_says_what_to_do(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "queue.db-wal")
    with pytest.raises(LiteqError, match=r"queue.db-wal is no regular file: remove it"):
        queue(tmp_path / "queue.db")
