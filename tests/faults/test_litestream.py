"""A machine that is lost, with all that ran on it: what Litestream has of its queue comes into use elsewhere."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liteq.cli import main
from liteq.message import Ack, Batch, Lease, Message, RetryAt, WorkerIdentity, new_id
from liteq.storage.storage import Storage, open_storage

from .harness import Drill, integrity, kill_group, wait_for
from .litestream import Litestream, program, remote
from .sizes import NIGHTLY, size

KILLS = size("LITESTREAM", 1, 20)
REPLICATED = 5  # sends that wait for their copy, before each kill: 100 in all
MORE_LOOKS = size("LITESTREAM_LOOKS", 0, 2)  # restores under load, beside one before each kill

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(sys.platform == "win32", reason="sockets in the file system; workers need fork"),
]
ROWS = "SELECT * FROM liteq_messages ORDER BY seq"
NUMBERS = "SELECT CAST(substr(id, 2) AS INTEGER), state FROM liteq_messages WHERE id LIKE 'n%' ORDER BY 1"


@pytest.fixture(
    params=[
        "file",
        pytest.param(
            "s3", marks=pytest.mark.skipif(not NIGHTLY, reason="S3 in the full size: tox -e faults-litestream")
        ),
    ]
)
def litestream(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Litestream]:
    program()
    with remote(request.param, tmp_path, monkeypatch) as url:
        litestream = Litestream(tmp_path / "drill.db", url)
        yield litestream
        litestream.close()


def opened(litestream: Litestream) -> Storage:
    storage = open_storage(f"sqlite:///{litestream.db}")
    storage.migrate()
    return storage


def restore(litestream: Litestream) -> None:
    arguments = ["-b", f"sqlite:///{litestream.db}", "restore", f"litestream://{litestream.source.replica}"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert integrity(litestream.db) == "ok"


# -- one process writes, and notes each state ------------------------------------------------------------------------


class Life:
    """A queue's life up to a kill: the digest of each state, in order, and the last that is known to be copied."""

    def __init__(self, litestream: Litestream, rng: random.Random) -> None:
        self._litestream = litestream
        self._rng = rng
        self.storage = opened(litestream)
        self._worker = self.storage.register_worker(WorkerIdentity(new_id(), "before", "elsewhere", "", 1, "1"))
        self.leases: list[Lease] = []
        self.states: list[str] = []
        self.note()
        self.copied = 0

    def note(self) -> None:
        with self.storage.driver.read() as tx:
            self.states.append(digest(tx.execute(ROWS)))

    def lease(self, n: int) -> list[str]:
        """Send `n` messages, and claim at least one; their ids."""
        ids = self.storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]") for _ in range(n)]))
        self.note()
        self.leases += self.storage.claim(["celery"], worker=self._worker, limit=n, visibility_s=600)
        self.note()
        return ids

    def step(self) -> None:
        """Send, claim or settle one message."""
        match self._rng.randrange(4):
            case 0 | 1:
                self.storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]")]))
            case 2:
                self.leases += self.storage.claim(["celery"], worker=self._worker, limit=1, visibility_s=600)
            case _ if self.leases:
                lease = self.leases.pop(self._rng.randrange(len(self.leases)))
                outcome = Ack(b"1") if self._rng.random() < 0.8 else RetryAt(0)
                assert self.storage.settle([(lease, outcome)]) == []
        self.note()

    def wait_for_copy(self) -> None:
        control = self.storage.driver.replicator(str(self._litestream.socket))
        control.wait(60)
        control.close()
        self.copied = len(self.states) - 1


def digest(rows: list[tuple[Any, ...]]) -> str:
    return sha256(repr(rows).encode()).hexdigest()


def test_a_copy_is_a_state_that_was_and_leases_of_before_are_void(litestream):
    rng = random.Random(KILLS)
    for _ in range(KILLS):
        life = Life(litestream, rng)
        litestream.start()
        for _ in range(rng.randrange(20, 60)):
            life.step()
        life.wait_for_copy()
        life.lease(3)
        life.wait_for_copy()
        held, life.leases = life.leases, []  # under leases that the copy knows, to its end
        for _ in range(rng.randrange(200)):
            life.step()
        litestream.kill()
        life.storage.close()
        litestream.burn(state=rng.random() < 0.5)
        with litestream.copy() as copy:
            found = digest(copy.execute(ROWS).fetchall())
        assert found in life.states[life.copied :], "no state of the queue, or an older one than was waited for"
        restore(litestream)
        storage = opened(litestream)
        storage.reap()
        heir = storage.register_worker(WorkerIdentity(new_id(), "heir", "elsewhere", "", 1, "1"))
        leased = storage.claim(["celery"], worker=heir, limit=1000, visibility_s=600)
        assert {lease.id for lease in held} <= {lease.id for lease in leased}
        stale = held + life.leases
        assert storage.settle([(lease, Ack(b"0")) for lease in stale]) == stale, "0 are accepted"
        assert storage.settle([(lease, Ack(b"1")) for lease in leased]) == []
        storage.close()


# -- producers, workers and Litestream are killed at once ------------------------------------------------------------


def lines(drill: Drill, kind: str) -> list[int]:
    """The numbers that producers have told of, in whole lines."""
    found = []
    for path in drill.folder.glob("producer-*"):
        if path.suffix != ".err":
            text = path.read_text()
            found += [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
    return [int(number) for word, number in found if word == kind]


def check(litestream: Litestream, drill: Drill) -> int:
    """The copy is a prefix: no number is left out, and what has succeeded was executed. How many numbers it has."""
    known = lines(drill, "replicated")  # before the copy is fetched
    with litestream.copy() as copy:
        rows = copy.execute(NUMBERS).fetchall()
    assert [number for number, _ in rows] == list(range(len(rows)))
    assert max(known, default=-1) < len(rows), "a send that had returned is lost"
    executed = drill.ledger()
    assert all(executed[f"n{number}"] for number, state in rows if state == "succeeded")
    return len(rows)


def test_what_was_replicated_is_there_when_all_is_killed(litestream, tmp_path):
    rng = random.Random(KILLS)
    drill = Drill(tmp_path, settings={"LITEQ_LITESTREAM_SOCKET": str(litestream.socket)}, forked=True)
    drill.storage().close()
    first = total = 0
    try:
        for n in range(KILLS):
            litestream.start()
            worker = drill.worker()
            producer = drill.start(
                str(Path(__file__).with_name("replicated_producer.py")), str(first), name=f"producer-{n}"
            )
            before = len(lines(drill, "replicated"))
            wait_for(lambda: len(lines(drill, "replicated")) >= before + REPLICATED, within_s=120)
            for _ in range(1 + (MORE_LOOKS if n == 0 else 0)):
                check(litestream, drill)
            sent = len(lines(drill, "sent"))
            more = rng.randrange(200)
            wait_for(lambda: len(lines(drill, "sent")) >= sent + more, within_s=120)
            for end in rng.sample([lambda: kill_group(worker), lambda: kill_group(producer), litestream.kill], 3):
                end()
            litestream.burn(state=rng.random() < 0.5)
            first = check(litestream, drill)
            total = len(lines(drill, "replicated"))
            restore(litestream)
        worker = drill.worker()
        drill.wait_until_settled()
        drill.stop(worker)
    finally:
        drill.close()
    assert total >= KILLS * REPLICATED
    executed = drill.ledger()
    assert all(executed[f"n{number}"] for number in range(first))


# -- a follower takes over ---------------------------------------------------------------------------------------------


def test_a_follower_takes_over_and_the_old_leader_acknowledges_nothing(tmp_path, monkeypatch):
    program()
    follower = tmp_path / "follower.db"
    with remote("file", tmp_path, monkeypatch) as url:
        litestream = Litestream(tmp_path / "drill.db", url)
        life = Life(litestream, random.Random(1))
        litestream.start()
        life.wait_for_copy()
        follow = [
            program(),
            "restore",
            "-f",
            "-follow-interval",
            "50ms",
            "-o",
            str(follower),
            litestream.source.replica,
        ]
        with (tmp_path / "follower.log").open("wb") as log, subprocess.Popen(follow, stdout=log, stderr=log) as process:
            try:
                (id_,) = life.lease(1)
                life.wait_for_copy()
                wait_for(lambda: follower.exists() and id_ in ids_looked_at(follower), within_s=60)
            finally:
                process.kill()
        litestream.close()
        life.storage.close()
    heir = open_storage(f"sqlite:///{tmp_path}/heir.db")
    assert CliRunner().invoke(main, ["-b", heir.driver.url, "restore", str(follower)]).exit_code == 0
    heir.migrate()
    assert heir.reap() == 1
    number = heir.register_worker(WorkerIdentity(new_id(), "heir", "elsewhere", "", 1, "1"))
    (lease,) = heir.claim(["celery"], worker=number, limit=9, visibility_s=600)
    assert heir.settle([(life.leases[0], Ack(b"0"))]) == life.leases
    assert heir.settle([(lease, Ack(b"1"))]) == []
    heir.close()


def ids_looked_at(path: Path) -> set[str]:
    """The ids of its messages, by `?mode=ro`: a follower is only looked at."""
    looked = open_storage(f"sqlite:///{path}?mode=ro")
    try:
        with looked.driver.read() as tx:
            return {id_ for (id_,) in tx.execute("SELECT id FROM liteq_messages")}
    finally:
        looked.close()


# -- it is away for a moment -----------------------------------------------------------------------------------------


def test_a_log_that_was_folded_while_it_was_away_damages_no_copy(litestream):
    """Its first look afterwards takes an old frame behind the new ones for a sign that it has missed nothing."""
    with closing(opened(litestream)) as storage:
        litestream.start()
        send(storage, "before", 200)
        copied(litestream, storage)
        litestream.kill()
        send(storage, "missed", 200)  # which only the old log has, until it is folded
        storage.driver.fold_log()
        send(storage, "after", 2)  # a log that is shorter than the old one
        litestream.go_on()
        send(storage, "last", 1)
        copied(litestream, storage)
        with litestream.copy() as copy:
            assert copy.execute(ROWS).fetchall() == rows_of(storage)


def send(storage: Storage, name: str, n: int) -> None:
    for k in range(n):
        storage.enqueue(Batch([Message(f"{name}-{k}", "t", b"[[],{}]")]))


def copied(litestream: Litestream, storage: Storage) -> None:
    """Wait until the remote has all that was written."""
    control = storage.driver.replicator(str(litestream.socket))
    control.wait(60)
    control.close()


def rows_of(storage: Storage) -> list[tuple[Any, ...]]:
    with storage.driver.read() as tx:
        return [tuple(row) for row in tx.execute(ROWS)]
