"""Limits of a file and a message: modes, owners, links; a mebibyte, 64 KiB of traceback, a hundred lists deep."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import LiteQ
from liteq.exceptions import BadMessage, PayloadTooLarge, StorageError, StorageUnavailable
from liteq.serialization import decode_error
from liteq.states import State
from liteq.storage.storage import open_storage

from .harness import Drill, wait_for
from .sizes import size

ROUNDS = size("LIMITS", 3, 100)
MIB, KIB = 2**20, 2**10
NOBODY = 65534

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="modes, owners and workers' processes are POSIX's"),
]
as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root makes another user's files")


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    drill = Drill(tmp_path, disk)
    yield drill
    drill.close()


def test_every_file_is_its_owners_alone_whatever_the_umask_allows(drill: Drill) -> None:
    app = ["-m", "liteq", "-A", "drill_app"]
    worker = drill.start(*app, "worker", "-c", "1", "--umask", "0", name="worker")
    wait_for(lambda: drill.db.exists() and os.path.exists(f"{drill.db}-ballast"))
    storage = drill.storage()
    drill.send(storage, "work", 1)
    drill.wait_until_settled()
    assert drill.start(*app, "backup", str(drill.db.parent / "copy.db"), name="backup").wait(timeout=60) == 0
    found = {path.name: path.lstat().st_mode for path in drill.db.parent.iterdir()}
    assert {"drill.db", "drill.db-wal", "drill.db-shm", "drill.db-gate", "drill.db-ballast", "copy.db"} <= found.keys()
    open_to_others = {name: oct(mode) for name, mode in found.items() if mode & 0o077 and stat.S_ISREG(mode)}
    assert not open_to_others, open_to_others
    storage.close()
    assert drill.stop(worker) == 0


@as_root
@pytest.mark.parametrize("what", ["a file", "a link", "a link in the place of the gate"])
def test_what_another_user_has_laid_out_is_not_written_to(tmp_path: Path, what: str) -> None:
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_bytes(b"precious")
    path = shared / "queue.db"
    planted = Path(f"{path}-gate") if what.endswith("gate") else path
    planted.touch() if what == "a file" else planted.symlink_to(victim)
    os.lchown(planted, NOBODY, NOBODY)
    storage = open_storage(f"sqlite:///{path}", busy_timeout_s=1)
    with pytest.raises(StorageUnavailable, match=r"belongs to another user|must belong to the user"):
        storage.migrate()
    storage.close()
    assert victim.read_bytes() == b"precious"


def test_arguments_are_held_to_their_limits_to_the_byte(drill: Drill) -> None:
    app = LiteQ("limits", broker=f"sqlite:///{drill.db}")
    task = app.signature("drill_app.work")
    room = MIB - len('[[""],{}]')
    task.clone(("x" * room,)).apply_async()
    with pytest.raises(PayloadTooLarge, match=r"1,048,577 bytes encoded, the limit is 1,048,576"):
        task.clone(("x" * (room + 1),)).apply_async()
    with pytest.raises(BadMessage, match=r"nest|deep"):
        task.clone((tower(100),)).apply_async()
    task.clone((tower(97),)).apply_async()  # the list of the arguments, and what it is in, count too
    assert sum(count.n for count in app.storage.reader.counts()) == 2
    app.storage.close()


def tower(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_results_and_tracebacks_are_held_to_their_limits(drill: Drill) -> None:
    worker = drill.worker(children=1)
    wait_for(drill.db.exists)
    storage = drill.storage()
    for _ in range(ROUNDS):
        fits, too_large = drill.send(storage, "large", MIB), drill.send(storage, "large", MIB + 1)
        flat, too_deep = drill.send(storage, "tower", 100), drill.send(storage, "tower", 101)
        complaint = drill.send(storage, "complain", 500, MIB)
        drill.wait_until_settled()
        found = storage.reader.find_many([fits, too_large, flat, too_deep, complaint])
        assert (found[fits].state, found[flat].state) == (State.SUCCEEDED, State.SUCCEEDED)
        assert len(found[fits].result or b"") == MIB
        assert decode_error(found[too_large].error or b"{}").type == "PayloadTooLarge"
        assert decode_error(found[too_deep].error or b"{}").type == "NotSerializable"
        error = decode_error(found[complaint].error or b"{}")
        assert error.type == "ValueError"
        assert len(error.traceback.encode()) <= 64 * KIB
        assert "complain" in error.traceback
        assert len(found[complaint].error or b"") < 4 * 64 * KIB
    log = drill.log()
    assert "\x1b" not in log, "a terminal would obey it"
    assert "forged" in log
    assert not any(line.startswith("[2026-01-01") for line in log.splitlines()), "a message forges no line of the log"
    assert drill.stop(worker) == 0
    storage.close()


def test_a_result_that_was_refused_leaves_its_child_alive(drill: Drill) -> None:
    worker = drill.worker(children=1)
    wait_for(drill.db.exists)
    storage = drill.storage()
    refused = drill.send(storage, "large", 64 * MIB)
    after = drill.send(storage, "work", 7)
    drill.wait_until_settled()
    assert storage.reader.find(refused).state is State.DEAD  # type: ignore[union-attr]
    assert storage.reader.find(after).state is State.SUCCEEDED  # type: ignore[union-attr]
    assert "ended with" not in drill.log()
    assert "cannot run" not in drill.log()  # a failure as any other: its hooks are told
    assert drill.stop(worker) == 0
    storage.close()


def test_a_storage_error_names_no_more_than_its_path(drill: Drill) -> None:
    """A refusal says what to do, and names no argument of a task."""
    storage = drill.storage()
    with storage.driver.write() as tx, pytest.raises(StorageError) as refused:
        tx.execute("INSERT INTO liteq_messages (id) VALUES (?)", ("secret",))
    assert "secret" not in str(refused.value)
    storage.close()
