"""A newer liteq has migrated the file: an older worker stops politely and writes nothing.

The older ones are real: their sources come out of this repository's history (OLDER). Where there is none, as in an
sdist, those tests are skipped; what a file says of itself is tested in any case.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from liteq.exceptions import SchemaTooNew
from liteq.message import Batch, Message, new_id
from liteq.states import State
from liteq.storage.sqlite.migrate import migrations
from liteq.storage.storage import open_storage

from .harness import HERE, Drill, integrity, wait_for
from .sizes import NIGHTLY

KNOWN = max(migrations())
CONFIG = 78
# One commit of some schemas, by the version that its files say.
OLDER = {1: "4953abb62564947694a8475c6060056102f687f6", 3: "a487b5ec8df0a80edeb846c14d8350810d3cc315"}
if NIGHTLY:
    OLDER |= {
        5: "0b78cc378bcf5fb02051602a698b5c41b7341c63",
        8: "7351fd0dc45b61b07478b15bec67dc555150117e",
        10: "1f699be60a74f7a4079089379cdc69c778837639",
    }

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need fork")


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    drill = Drill(tmp_path)
    drill.storage().close()
    yield drill
    drill.close()


def set_versions(drill: Drill, version: int, min_reader: int, min_writer: int) -> None:
    """As a migration of a newer liteq does."""
    storage = open_storage(f"sqlite:///{drill.db}")
    with storage.driver.write() as tx:
        for key, value in {"version": version, "min_reader": min_reader, "min_writer": min_writer}.items():
            tx.execute("UPDATE liteq_meta SET value = ? WHERE key = ?", (value, key))
    storage.close()


def content(drill: Drill) -> list[list[object]]:
    """All that is in the file."""
    storage = open_storage(f"sqlite:///{drill.db}")
    with storage.driver.read() as tx:
        tables = [name for (name,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        rows: list[list[object]] = [list(tx.execute(f"SELECT * FROM {name}")) for name in tables]
    storage.close()
    return rows


@pytest.mark.parametrize("library", ["apsw", "stdlib"])
@pytest.mark.parametrize(
    ("version", "min_writer", "allowed"),
    [(KNOWN, KNOWN, True), (KNOWN + 1, KNOWN, True), (KNOWN + 5, 1, True), (KNOWN + 1, KNOWN + 1, False)],
)
def test_who_may_write_is_what_the_file_says(
    drill: Drill, version: int, min_writer: int, allowed: bool, library: str
) -> None:
    set_versions(drill, version, 1, min_writer)
    before = content(drill)
    storage = open_storage(f"sqlite:///{drill.db}?driver={library}")
    if allowed:
        assert storage.migrate() == version
        storage.driver.check_schema()
    else:
        with pytest.raises(SchemaTooNew, match=r"upgrade liteq here; nothing was written"):
            storage.migrate()
        with pytest.raises(SchemaTooNew):
            storage.driver.check_schema()
    storage.close()
    assert content(drill) == before


def test_an_older_worker_does_not_start_on_a_newer_file(drill: Drill) -> None:
    set_versions(drill, KNOWN + 1, KNOWN + 1, KNOWN + 1)
    before = content(drill)
    worker = drill.worker()
    assert worker.wait(timeout=60) == CONFIG
    assert content(drill) == before
    assert "upgrade liteq here" in drill.log()
    assert "Traceback" not in drill.log()


def test_a_running_worker_stops_when_its_file_is_migrated_by_a_newer_one(drill: Drill) -> None:
    storage = open_storage(f"sqlite:///{drill.db}")
    worker = drill.worker()
    task = drill.send(storage, "wait")
    wait_for(lambda: drill.ledger()[task] == 1)
    set_versions(drill, KNOWN + 1, KNOWN + 1, KNOWN + 1)
    assert worker.wait(timeout=60) == CONFIG
    assert "upgrade liteq here" in drill.log()
    # What it held stays leased: the newer worker, which knows how to, will give it back.
    record = storage.reader.find(task)
    assert record is not None
    assert record.state is State.LEASED
    later = storage.enqueue(Batch([Message(new_id(), "drill_app.work", b"[[1],{}]")]))[0]
    assert storage.reader.find(later).state is State.PENDING  # type: ignore[union-attr]
    storage.close()


# -- real older ones -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", params=OLDER)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package `liteq` as it was when its schema had this version."""
    root = HERE.parents[1]
    command = ["git", "-C", str(root), "archive", OLDER[request.param], "liteq"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=30)
    except OSError:
        pytest.skip("there is no git here")
    if done.returncode:
        pytest.skip(f"no history here to take schema {request.param} from")
    folder = tmp_path_factory.mktemp(f"schema{request.param}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def environment(older: Path) -> dict[str, str]:
    """With which a process of a drill imports the older package."""
    mine = str(HERE.parents[1])
    others = [place for place in sys.path if place and place != mine and not (Path(place) / "liteq").is_dir()]
    return {"PYTHONPATH": os.pathsep.join([str(older), str(HERE), *others])}


def in_older(drill: Drill, older: Path, code: str) -> str:
    """The output of a program that runs with the older package."""
    env = {**drill.env, **environment(older)}
    command = [sys.executable, "-c", code, f"sqlite:///{drill.db}"]
    done = subprocess.run(command, env=env, cwd=drill.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def remove_file(drill: Drill) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{drill.db}{suffix}").unlink(missing_ok=True)


EVERY_STATE = """
import json, sys
from liteq.message import *
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
storage.migrate()
gone = storage.register_worker(WorkerIdentity("gone", "w", "host", "", 1, "1"))
def message(task="work", args=b"[[1],{}]", **fields):
    return Message(new_id(), f"drill_app.{task}", args, **fields)
def claim(n):
    return storage.claim(["celery"], worker=gone, limit=n, visibility_s=1)
def chain():
    first = message(flags=Flag.LINKED)
    return [first, message("add", b"[[1],{}]", awaits=first.id, flags=Flag.TAKES_INPUT)]
def send(*messages, groups=()):
    storage.enqueue(Batch(list(messages), list(groups)))
    return [m.id for m in messages]
ids = {}
ids["succeeded"] = send(message())
storage.settle([(lease, Ack(b'"kept"')) for lease in claim(1)])
ids["dead"], ids["upstream_failed"] = ([i] for i in send(*chain()))
storage.settle([(lease, DeadLetter(b'{"type": "ValueError", "message": "no"}')) for lease in claim(1)])
ids["cancelled"] = send(message())
storage.cancel(ids["cancelled"])
ids["leased"] = send(message(), message(args=b'[["%s"],{}]' % (b"x" * 100_000)))
claim(2)
group = new_id()
members = [message(group_id=group, position=i, flags=Flag.LINKED) for i in range(3)]
body = message("total", b"[[],{}]", awaits=group, flags=Flag.TAKES_INPUT)
send(*members, body, groups=[Group(group, 3)])
storage.settle([(lease, Ack(b"5")) for lease in claim(1)])
ids["succeeded"].append(members[0].id)
ids["pending"] = [m.id for m in members[1:]] + send(message(unique_key="one"))
first, second = send(*chain())
ids["pending"].append(first)
ids["blocked"] = [body.id, second]
ids["scheduled"] = send(message(due_ms=storage.clock.now_ms() + 1_000))
storage.close()
print(json.dumps({"ids": ids, "body": body.id}))
"""


def test_a_file_of_an_older_one_is_migrated_with_live_rows_in_every_state(drill: Drill, older: Path) -> None:
    remove_file(drill)
    told = json.loads(in_older(drill, older, EVERY_STATE))
    before = in_older(drill, older, CONTENT)
    storage = drill.storage()  # migrates
    assert storage.migrate() == KNOWN
    for state, ids in told["ids"].items():
        records = storage.reader.find_many(ids)
        assert {r.state.value for r in records.values()} == {state}, state
        assert len(records) == len(ids)
    assert sorted(told["ids"]) == json.loads(before)["states"]
    now = {record.id: record for ids in told["ids"].values() for record in storage.reader.find_many(ids).values()}
    for id_, payload, result in json.loads(before)["documents"]:
        assert (now[id_].payload.decode(), (now[id_].result or b"").decode()) == (payload, result)
    assert storage.enqueue(Batch([Message(new_id(), "t", b"[[],{}]", unique_key="one")]))[0] in told["ids"]["pending"]
    worker = drill.worker()
    drill.wait_until_settled()
    for state in ("leased", "pending", "blocked", "scheduled"):
        ended = {r.state for r in storage.reader.find_many(told["ids"][state]).values()}
        assert ended == {State.SUCCEEDED}, f"{state}: {ended}"
    assert (storage.reader.find(told["body"]).result or b"") == b"7"  # type: ignore[union-attr]
    assert storage.dead.requeue(told["ids"]["dead"]) == told["ids"]["dead"]
    drill.wait_until_settled()
    assert {r.state for r in storage.reader.find_many(told["ids"]["upstream_failed"]).values()} == {State.SUCCEEDED}
    assert drill.stop(worker) == 0
    storage.close()
    assert integrity(drill.db) == "ok"


CONTENT = """
import json, sys
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
with storage.driver.read() as tx:
    rows = list(tx.execute("SELECT id, payload, result, state FROM liteq_messages"))
storage.close()
in_row = [row for row in rows if row[1]]  # test_upgrade.py has documents that stand beside their row
documents = [(id_, payload.decode(), (result or b"").decode()) for id_, payload, result, _ in in_row]
print(json.dumps({"documents": documents, "states": sorted({row[3] for row in rows})}))
"""
REFUSED = """
import sys
from liteq.exceptions import SchemaTooNew
from liteq.message import Batch, Message, new_id
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
try:
    storage.migrate()
except SchemaTooNew as exc:
    print(exc)
"""


def test_an_older_one_refuses_the_file_of_this_one_and_writes_nothing(drill: Drill, older: Path) -> None:
    storage = drill.storage()
    drill.send(storage, "work", 1)
    storage.close()
    before = content(drill)
    assert re.search(r"upgrade liteq(-tasks)? here; nothing was written", in_older(drill, older, REFUSED))
    worker = drill.worker(name="older", env=environment(older))
    assert worker.wait(timeout=60) == CONFIG
    assert re.search(r"upgrade liteq(-tasks)? here", drill.log("older"))
    assert "Traceback" not in drill.log("older")
    assert content(drill) == before


def test_a_running_older_worker_hands_over_to_this_one(drill: Drill, older: Path, tmp_path: Path) -> None:
    remove_file(drill)
    in_older(drill, older, EVERY_STATE)
    worker = drill.worker(name="older", env=environment(older))
    go = tmp_path / "go"
    task = in_older(drill, older, SEND.replace("GO", str(go))).strip()
    wait_for(lambda: drill.ledger()[task] == 1)
    storage = drill.storage()  # an upgrade, beside the running worker
    assert storage.migrate() == KNOWN
    assert worker.wait(timeout=60) == CONFIG
    assert re.search(r"upgrade liteq(-tasks)? here", drill.log("older"))
    assert storage.reader.find(task).state is State.LEASED  # type: ignore[union-attr]
    go.touch()
    began = time.monotonic()
    heir = drill.worker()
    wait_for(lambda: storage.reader.find(task).state is State.SUCCEEDED)  # type: ignore[union-attr]
    assert time.monotonic() - began < 50, "its PID was gone: nobody had to wait for the lease to run out"
    assert drill.stop(heir) == 0
    storage.close()


SEND = """
import sys
from liteq.message import Batch, Message, new_id
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
print(storage.enqueue(Batch([Message(new_id(), "drill_app.until", b'[["GO"],{}]')]))[0])
storage.close()
"""
