"""Questions to a watched library, each asked in a process of its own: what the suite does not ask, as it has one.

    python probes.py QUESTION URL FOLDER        prints what is so, or raises; URL is that of a queue in FOLDER

The other side of each is a process of liteq's own, with apsw: two SQLite libraries may not share a file in one process.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from liteq.exceptions import StorageError
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.sqlite.doctor.describe import has_wal_reset_bug
from liteq.storage.storage import Storage, open_storage

__all__ = ["QUESTIONS"]

Question = Callable[[str, Path], str]
SENT = 20
WRITE_S = 3.0
PATIENCE_S = 20.0
OURS = """
import sys, time
from liteq.exceptions import StorageError
from liteq.message import Ack, Batch, Message, WorkerIdentity, new_id
from liteq.storage.storage import open_storage
storage = open_storage(sys.argv[1])
def send(n):
    for _ in range(n):
        storage.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))
def count():
    return sum(row.n for row in storage.reader.counts())
def check():
    with storage.driver.read() as tx:
        return tx.execute("PRAGMA integrity_check(3)")[0][0]
def say(words):
    print(words, flush=True)
"""

BEGINS = """
import apsw
try:
    apsw.Connection(sys.argv[1].removeprefix("sqlite:///")).execute("BEGIN IMMEDIATE")
except apsw.BusyError:
    say("busy")
else:
    say("began")
"""
UNTOUCHED = """
with storage.driver.read() as tx:
    say(tx.execute("SELECT count(*) FROM liteq_messages WHERE task = 't'")[0][0])
"""


def ours(url: str, code: str, *, wait: bool = True) -> subprocess.Popen[str]:
    """A process of liteq's own on the file of `url`; `wait`: until it has ended well."""
    place = "sqlite" + url[url.index(":") :]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{OURS}\n{code}", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if wait:
        process.said = process.communicate(timeout=PATIENCE_S)[0].strip()  # type: ignore[attr-defined]
        if process.returncode:
            raise AssertionError(f"liteq's own process could not go on: exit code {process.returncode}")
    return process


def says(url: str, code: str) -> str:
    return ours(url, code).said  # type: ignore[attr-defined, no-any-return]


def made(url: str) -> Storage:
    """A queue that liteq has made with tasks in it, opened by the library."""
    ours(url, f"storage.migrate(); send({SENT})")
    return open_storage(url)


def count(storage: Storage) -> int:
    return sum(row.n for row in storage.reader.counts())


def send(storage: Storage, n: int) -> None:
    for _ in range(n):
        storage.enqueue(Batch([Message(id=new_id(), task="t", payload=b"[[],{}]")]))


def work(storage: Storage) -> int:
    """Claim and acknowledge all that waits; how many."""
    me = storage.register_worker(WorkerIdentity(new_id(), "probe", "host", "boot", 1, "1"))
    done = 0
    while leases := storage.claim(["celery"], worker=me, limit=7, visibility_s=60):
        assert storage.settle([(lease, Ack(b"1")) for lease in leases]) == []
        done += len(leases)
    return done


def is_sound(url: str) -> None:
    found = says(url, "say(check())")
    assert found == "ok", f"SQLite's integrity check says: {found}"


# -- to read -----------------------------------------------------------------------------------------------------------


def reads_liteqs_file(url: str, folder: Path) -> str:
    """It reads a queue that liteq has made, and leaves it sound."""
    found = count(made(url))
    assert found == SENT, f"{found} of {SENT} messages were seen"
    is_sound(url)
    return f"{SENT} of {SENT} messages"


def sees_commits(url: str, folder: Path) -> str:
    """It sees what a process of liteq commits while it has the file open."""
    storage = made(url)
    assert count(storage) == SENT
    ours(url, "send(5)")
    assert (found := count(storage)) == SENT + 5, f"{found} of {SENT + 5} messages were seen"
    return "the next read has it"


# -- to write ----------------------------------------------------------------------------------------------------------


def makes_a_queue(url: str, folder: Path) -> str:
    """It makes liteq's tables as they are."""
    os.environ["LITEQ_WATCH_AS_IT_IS"] = "1"
    storage = open_storage(url)
    storage.migrate()
    send(storage, 1)
    storage.close()
    is_sound(url)
    return "all migrations"


def works_on_liteqs_file(url: str, folder: Path) -> str:
    """It claims and acknowledges in a queue that liteq has made."""
    storage = made(url)
    done = work(storage)
    storage.close()
    assert done == SENT, f"{done} of {SENT} were acknowledged"
    is_sound(url)
    return f"{SENT} of {SENT} acknowledged"


def is_seen(url: str, folder: Path) -> str:
    """A process of liteq sees what it commits, while both have the file open."""
    storage = made(url)
    reader = ours(url, "say(count()); sys.stdin.readline(); say(count()); say(check())", wait=False)
    assert reader.stdout is not None
    assert reader.stdout.readline().strip() == str(SENT)
    send(storage, 5)
    found, verdict = reader.communicate("\n", timeout=PATIENCE_S)[0].split("\n")[:2]
    assert found == str(SENT + 5), f"{found or 0} of {SENT + 5} messages were seen"
    assert verdict == "ok", f"SQLite's integrity check says: {verdict}"
    return "the next read has it"


def waits_for_us(url: str, folder: Path) -> str:
    """It does not write while a process of liteq is inside a transaction."""
    storage = made(url)
    session = storage.driver.new_session(reader=False)  # type: ignore[attr-defined]
    session.open()
    session.ask_in_loop()
    code = "\nwith storage.driver.write() as tx:\n    say('in'); sys.stdin.readline()"
    holder = ours(url, code, wait=False)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "in"
    began = session.begin_immediate()
    holder.communicate("\n", timeout=PATIENCE_S)
    assert not began, "it began a write transaction inside of another process's"
    return "busy"


def makes_us_wait(url: str, folder: Path) -> str:
    """A process of liteq does not write while it is inside a transaction."""
    storage = made(url)
    session = storage.driver.new_session(reader=False)  # type: ignore[attr-defined]
    session.open()
    assert session.begin_immediate()
    found = says(url, BEGINS)
    session.rollback()
    assert found == "busy", "SQLite began a write transaction inside of its own"
    return "busy"


def writes_beside_us(url: str, folder: Path) -> str:
    """Two processes of it and two of liteq send for seconds: nothing is lost, and the file is sound."""
    storage = made(url)
    code = f"n, end = 0, time.monotonic() + {WRITE_S}\nwhile time.monotonic() < end:\n    send(1); n += 1\nsay(n)"
    command = [sys.executable, "-c", f"{OURS}\n{code}"]
    places = [url, *2 * ["sqlite" + url[url.index(":") :]]]
    others = [
        subprocess.Popen([*command, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for place in places
    ]
    sent, errors, end = SENT, list[str](), monotonic() + WRITE_S
    try:
        while monotonic() < end:
            send(storage, 1)
            sent += 1
    except StorageError as error:
        errors.append(str(error))
    for other in others:  # by now each has ended, or ends soon
        out, err = other.communicate(timeout=PATIENCE_S)
        sent += int(out.strip() or 0)
        errors += err.strip().splitlines()[-1:]
    assert not any(re.search("malformed|[Ii]nvalid page", error) for error in errors), "the file is damaged"
    assert not errors, errors[0]
    storage.close()
    found = int(says(url, "say(count())"))
    is_sound(url)
    assert found == sent, f"{sent - found} of {sent} messages that were accepted are not there"
    return f"{sent:,} sent, {sent:,} there"


def keeps_integers(url: str, folder: Path) -> str:
    """It binds integers above 2^53 as they are."""
    storage = made(url)
    session = storage.driver.new_session(reader=False)  # type: ignore[attr-defined]
    session.open()
    number = 2**53 + 1
    found = session.connection.execute("SELECT ?", (number,)).fetchone()[0]
    assert found == number, f"{number} comes back as {found!r}"
    return "as they are"


def has_no_reset_bug(url: str, folder: Path) -> str:
    """Its SQLite is free of the WAL-reset bug."""
    storage = made(url)
    version = storage.driver.library_version()  # type: ignore[attr-defined]
    if storage.driver.library == "turso":  # type: ignore[attr-defined]
        return "it is no SQLite: its write-ahead log is code of its own"
    assert not has_wal_reset_bug(version), f"it carries SQLite {version}; 3.51.3 is the first without"
    return f"SQLite {version}"


def survives_kills(url: str, folder: Path) -> str:
    """Killed inside a transaction it leaves nothing of it, and its lock is free."""
    storage = made(url)
    code = """
with storage.driver.write() as tx:
    tx.execute("UPDATE liteq_messages SET task = 'gone'"); say("in"); sys.stdin.readline()"""
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{OURS}{code}", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "in"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    send(storage, 1)
    storage.close()
    found = int(says(url, UNTOUCHED))
    is_sound(url)
    assert found == SENT + 1, f"{found} of {SENT + 1} messages are as they were"
    return "nothing of it is there"


# -- to serve ----------------------------------------------------------------------------------------------------------

APP = """
from liteq import LiteQ, chord
app = LiteQ("watched", broker={url!r})
@app.task
def add(a, b): return a + b
@app.task
def total(values): return sum(values)
"""


def serves(url: str, folder: Path) -> str:
    """A worker with children executes tasks and a chord on it."""
    (folder / "watched_app.py").write_text(APP.format(url=url))
    sys.path.insert(0, str(folder))
    from watched_app import add, app, chord, total  # type: ignore[import-not-found]

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    app.storage.migrate()
    command = [sys.executable, "-m", "liteq", "-A", "watched_app", "worker", "-c", "2"]
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        sent = [add.delay(n, 1) for n in range(50)]
        body = chord([add.s(n, n) for n in range(10)], total.s()).apply_async()
        assert [one.get(timeout=PATIENCE_S) for one in sent] == [n + 1 for n in range(50)]
        assert body.get(timeout=PATIENCE_S) == 90
    finally:
        worker.terminate()
        worker.wait()
    app.close()
    is_sound(url)
    return "60 tasks and a body"


def wakes(url: str, folder: Path) -> str:
    """It tells of another's commit without a read: `PRAGMA data_version`, for when a bell is lost."""
    storage = made(url)
    with storage.driver.read(alone=True) as tx:
        before = tx.execute("PRAGMA data_version")
        assert before, "it has no PRAGMA data_version"
        ours(url, "send(1)")
        assert tx.execute("PRAGMA data_version") != before, "it says the same after a commit"
    return "it does"


def stops_a_read(url: str, folder: Path) -> str:
    """A read that takes too long can be stopped from Python."""
    session = made(url).driver.new_session(reader=True)  # type: ignore[attr-defined]
    session.open()
    connection = session.connection
    if hasattr(connection, "set_progress_handler"):
        return "by a progress handler"
    assert hasattr(connection, "interrupt"), "it has neither a progress handler nor interrupt()"
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    threading.Timer(0.3, connection.interrupt).start()
    try:
        connection.execute(endless).fetchall()
    except Exception as error:
        return f"by interrupt(): {error}"
    raise AssertionError("an endless read came to its end")


def copies(url: str, folder: Path) -> str:
    """It makes a consistent copy of a file in use."""
    storage = made(url)
    target = folder / "copy.db"
    storage.driver.backup(target)  # type: ignore[attr-defined]
    found = says(f"x:///{target}", "say(count()); say(check())").split()
    assert found == [str(SENT), "ok"], f"the copy has {found}"
    return "by VACUUM INTO; it has no backup API"


QUESTIONS: dict[str, tuple[Question, ...]] = {
    "read": (reads_liteqs_file, sees_commits),
    "write": (
        makes_a_queue, works_on_liteqs_file, is_seen, waits_for_us, makes_us_wait, writes_beside_us, survives_kills,
        keeps_integers, has_no_reset_bug,
    ),
    "serve": (serves, wakes, stops_a_read, copies),
}  # fmt: skip

if __name__ == "__main__":
    asked = {question.__name__: question for part in QUESTIONS.values() for question in part}
    print(asked[sys.argv[1]](sys.argv[2], Path(sys.argv[3])), flush=True)
    os._exit(0)  # what the library still has open is nobody's any more
