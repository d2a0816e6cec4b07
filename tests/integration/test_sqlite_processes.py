"""Many processes, one file: turns at the write gate, the wake-up, forks, creation at the same moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from liteq.exceptions import StorageBusy
from liteq.storage import open_driver
from liteq.storage.driver import Bell, Driver
from liteq.storage.sqlite.migrate import migrations
from liteq.storage.sqlite.turns import holder
from liteq.storage.sqlite.turns.holder import writer
from liteq.storage.sqlite.waking.doorbell import Doorbell
from liteq.storage.sqlite.waking.polling import PollingListener

GROUP = "INSERT INTO liteq_groups (id, size, remaining, position, created_ms) VALUES (?, 1, 1, 0, 0)"
HEAD = """
import os, sys, time, threading
from liteq.storage import open_driver
from liteq.storage.driver import Bell, Promise
from liteq.exceptions import StorageError
GROUP = "INSERT INTO liteq_groups (id, size, remaining, position, created_ms) VALUES (?, 1, 1, 0, 0)"
driver = open_driver(sys.argv[1])
def add(name):
    with driver.write() as tx:
        tx.execute(GROUP, (name,))
"""
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
linux = pytest.mark.skipif(sys.platform != "linux", reason="the holder is read from /proc/locks")


@pytest.fixture(params=["apsw", "stdlib"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db?driver={request.param}"


@pytest.fixture
def driver(url: str) -> Iterator[Driver]:
    opened = open_driver(url, busy_timeout_s=0.3)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def start(url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python program beside the test; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HEAD + code, url, *arguments]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def output(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    return out.splitlines()


def count(driver: Driver) -> int:
    with driver.read() as tx:
        return int(tx.execute("SELECT count(*) FROM liteq_groups")[0][0])


@posix
def test_64_producers_all_get_their_turns(driver: Driver, start: Start) -> None:
    crowd = """
children = []
for c in range(16):  # the driver of this process is closed around each fork, and opens anew on both sides
    pid = os.fork()
    if pid == 0:
        for n in range(20):
            add(f"{sys.argv[2]}-{c}-{n}")
        os._exit(0)
    children.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
    for crowd_of_16 in [start(crowd, str(number)) for number in range(4)]:
        output(crowd_of_16)
    assert count(driver) == 64 * 20
    assert driver.describe()["integrity"] == "ok"


def test_eight_processes_create_one_file_at_once(url: str, start: Start, tmp_path: Path) -> None:
    makers = [start("print('ready', flush=True); sys.stdin.readline(); print(driver.migrate())") for _ in range(8)]
    for maker in makers:
        line(maker)
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("go\n")
        maker.stdin.flush()
    assert [output(maker) for maker in makers] == [[str(max(migrations()))]] * 8
    driver = open_driver(url)
    assert driver.describe()["integrity"] == "ok"
    driver.close()


@linux
def test_a_writer_that_holds_the_gate_is_named(driver: Driver, start: Start) -> None:
    holder = start("with driver.write():\n    print('in', flush=True); sys.stdin.readline()")
    line(holder)
    began = time.monotonic()
    with pytest.raises(StorageBusy, match=f"PID {holder.pid} ") as refusal, driver.write():
        pass
    assert time.monotonic() - began > 0.25
    assert refusal.value.waited_s == pytest.approx(0.3)
    holder.kill()
    holder.wait()
    with driver.write() as tx:  # the kernel has freed both locks
        tx.execute(GROUP, ("after",))


@linux
def test_a_foreign_program_that_holds_the_lock_is_named(driver: Driver, start: Start, tmp_path: Path) -> None:
    shell = start(
        "import sqlite3; c = sqlite3.connect(sys.argv[2], isolation_level=None); c.execute('BEGIN EXCLUSIVE')\n"
        "print('in', flush=True); sys.stdin.readline()",
        str(tmp_path / "tasks.db"),
    )
    line(shell)
    with pytest.raises(StorageBusy, match=f"PID {shell.pid} "), driver.write():
        pass
    assert count(driver) == 0  # reading goes on
    output(shell)
    assert writer(str(tmp_path / "tasks.db")) == "unknown"


def test_a_waiter_that_gave_up_does_not_keep_the_gate(driver: Driver, start: Start) -> None:
    holder = start("with driver.write():\n    print('in', flush=True); sys.stdin.readline()")
    line(holder)
    with pytest.raises(StorageBusy), driver.write():
        pass
    output(holder)
    other = start("add('other'); print('done')")
    assert output(other) == ["done"]
    with driver.write() as tx:
        tx.execute(GROUP, ("mine",))
    assert count(driver) == 2


def test_a_ring_wakes_a_listener_in_another_process(driver: Driver, start: Start) -> None:
    listener = start("""
ear = driver.listen(Bell.WORK)
print("ready", flush=True)
while ear.wait(60):
    print(time.monotonic_ns(), flush=True)
""")
    line(listener)
    for _ in range(50):  # how soon is measured in benchmarks/
        rung = time.monotonic_ns()
        driver.ring(Bell.WORK)
        assert int(line(listener)) > rung


def test_a_bell_is_heard_by_its_own_listeners_and_once(driver: Driver) -> None:
    work, done = driver.listen(Bell.WORK), driver.listen(Bell.DONE)
    driver.ring(Bell.WORK)
    driver.ring(Bell.WORK)
    assert work.wait(60)
    assert not work.wait(0)
    assert not done.clear()
    work.close()
    done.close()


def test_a_deleted_bell_comes_back(driver: Driver, tmp_path: Path) -> None:
    ear = driver.listen(Bell.WORK)
    (tmp_path / "tasks.db-work").unlink()
    assert ear.wait(60)  # the deletion itself is heard
    driver.ring(Bell.WORK)
    assert ear.wait(60)
    ear.close()
    (tmp_path / "tasks.db-work").unlink()
    driver.ring(Bell.WORK)
    assert (tmp_path / "tasks.db-work").exists()


def test_a_listener_outlives_its_folder_and_hears_the_next_one(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    driver = open_driver(f"sqlite:///{place}/tasks.db")
    driver.migrate()
    ear = driver.listen(Bell.WORK)
    driver.close()
    shutil.rmtree(place)
    assert ear.wait(60)  # the deletion itself is heard, and there is nothing to watch any more
    assert not ear.wait(0)
    place.mkdir()
    driver.migrate()
    assert not ear.wait(0)  # it watches again from here on
    driver.ring(Bell.WORK)
    assert ear.wait(60)
    ear.close()
    driver.close()


def test_a_bell_that_was_deleted_and_made_anew_before_anybody_looked_is_heard(driver: Driver, tmp_path: Path) -> None:
    """The new file may have the inode number of the old one, and the kernel has dropped the watch all the same."""
    listener = driver.listen(Bell.WORK)
    for _ in range(20):
        (tmp_path / "tasks.db-work").unlink()
        driver.ring(Bell.WORK)  # makes it anew
        assert listener.wait(60)
        driver.ring(Bell.WORK)
        assert listener.wait(60), "deaf"
    listener.close()


def test_a_bell_that_was_replaced_while_somebody_holds_it_open_is_heard(driver: Driver, tmp_path: Path) -> None:
    """A file that is held open is not gone: the kernel goes on to watch it, and tells of one change of its links."""
    listener = driver.listen(Bell.WORK)
    bell = tmp_path / "tasks.db-work"
    for _ in range(3):
        with bell.open("rb"):
            bell.unlink()
            driver.ring(Bell.WORK)  # makes it anew
            assert listener.wait(60)
            assert not listener.wait(0)  # it watches the new one from here on
            driver.ring(Bell.WORK)
            assert listener.wait(60), "deaf"
    listener.close()


def test_a_bell_that_cannot_ring_does_not_raise_and_rings_when_it_can(tmp_path: Path) -> None:
    bell = tmp_path / "folder" / "tasks.db-work"
    doorbell = Doorbell(str(bell), lambda: 0)
    doorbell.ring()
    bell.parent.mkdir()
    doorbell.ring()
    assert bell.exists()


def test_polling_hears_a_commit(driver: Driver) -> None:
    ear = PollingListener(driver.version)
    assert not ear.wait(0.01)
    with driver.write() as tx:
        tx.execute(GROUP, ("a",))
    assert ear.wait(60)


@posix
def test_both_sides_of_a_fork_go_on_working(driver: Driver, start: Start) -> None:
    process = start("""
add("before"); driver.version()
pid = os.fork()
add(f"{pid == 0}")
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""")
    output(process)
    assert count(driver) == 3


@posix
def test_a_fork_waits_for_the_transactions_of_other_threads(driver: Driver, start: Start) -> None:
    process = start("""
inside = threading.Event()
def slow():
    with driver.write() as tx:
        inside.set()
        time.sleep(0.2)
        tx.execute(GROUP, ("slow",))
thread = threading.Thread(target=slow); thread.start(); inside.wait()
pid = os.fork()
if pid == 0:
    add("child")  # the file is this process's to use, so nothing was open at the fork
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
thread.join()
""")
    output(process)
    assert count(driver) == 2


@posix
def test_a_child_forked_inside_a_transaction_gets_a_clear_error(driver: Driver, start: Start) -> None:
    process = start("""
def attempt(step):
    try:
        step()
    except StorageError as error:
        print(error, flush=True)
    else:
        print("no error", flush=True)
block = driver.write()
tx = block.__enter__()
tx.execute(GROUP, ("parent",))
pid = os.fork()
if pid == 0:
    attempt(lambda: tx.execute(GROUP, ("child",)))
    attempt(lambda: block.__exit__(None, None, None))
    attempt(lambda: add("child"))
    os._exit(0)
os.waitpid(pid, 0)
block.__exit__(None, None, None)
add("again")
""")
    said = output(process)
    assert [("forked" in text or "inside a transaction" in text) for text in said] == [True] * 3
    assert count(driver) == 2


@posix
def test_a_listener_is_not_shared_with_a_child(driver: Driver, start: Start) -> None:
    process = start("""
ear = driver.listen(Bell.WORK)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    ear.wait(0)
    os.write(w, b"x")
    os._exit(0 if ear.wait(60) else 1)
os.read(r, 1)
driver.ring(Bell.WORK)
assert ear.wait(60)
assert os.waitpid(pid, 0)[1] == 0
print("both heard it")
""")
    assert output(process) == ["both heard it"]


@posix
def test_a_signal_that_raises_at_any_moment_leaves_nothing_locked(driver: Driver, start: Start) -> None:
    process = start("""
import random, signal
class Soft(Exception): pass
def raise_soft(*_): raise Soft
signal.signal(signal.SIGALRM, raise_soft)
interrupted, end = 0, time.monotonic() + 1
while interrupted <= 50 or time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-4))
        with driver.write(Promise.PROGRESS) as tx:
            tx.execute("UPDATE liteq_meta SET value = value + 1 WHERE key = 'epoch'")
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Soft:
        interrupted += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print("interrupted", flush=True)
sys.stdin.readline()
""")
    assert line(process) == "interrupted"
    with driver.write() as tx:  # while that process lives
        tx.execute(GROUP, ("free",))
    output(process)


def test_a_writer_that_is_met_at_each_look_and_commits_keeps_nobody_from_writing(driver, url, monkeypatch):
    """As a busy one is, or several of another PID namespace, which look alike from here."""
    path, looks = driver.where(), []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if commits:
            with driver.write() as tx:
                tx.execute(GROUP, (f"{len(looks)}",))

    monkeypatch.setattr(holder, "writer", lambda _path: "a process of another PID namespace")
    monkeypatch.setattr(holder.time, "sleep", look)
    commits = True
    assert holder.kept_by(path, 0.0) == ""
    commits = False
    assert holder.kept_by(path, 0.0) == "a process of another PID namespace"
