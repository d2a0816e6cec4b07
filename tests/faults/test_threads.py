"""Threads, and greenlets that pose as them: no two values are taken for a pair, and nobody stops the rest."""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ
from liteq.storage.sqlite.keeping import checkpoint, sidecars
from liteq.storage.sqlite.keeping.checkpoint import LARGE_LOG
from liteq.storage.sqlite.session import WAL_LIMIT
from liteq.storage.sqlite.turns.gate import PATIENCE_S
from liteq.storage.storage import Storage, open_storage

from .harness import wait_for
from .sizes import NIGHTLY, size

SECONDS = size("THREADS", 3, 60)
THREADS = 40

pytestmark = pytest.mark.timeout(600)
posix = pytest.mark.skipif(os.name != "posix", reason="there is no gate, and no fork")


@pytest.fixture
def hasty() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(
    seconds: float, *calls: object, threads: int = THREADS, enough: Callable[[], bool] = lambda: True
) -> collections.Counter[str]:
    """Each thread does one of `calls` again and again, for so long and until it is `enough`; their errors, counted."""
    errors: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds

    def run(call: object) -> None:
        while time.monotonic() < end or not enough():
            try:
                call()  # type: ignore[operator]
            except Exception as exc:
                errors[f"{type(exc).__name__}: {exc}"[:200]] += 1

    running = [threading.Thread(target=run, args=(calls[n % len(calls)],)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return errors


def test_forty_threads_that_send_and_ask_meet_no_error(tmp_path: Path, hasty: None) -> None:
    """Most of their connections are opened and closed all the time: each is perhaps the last one, or the first."""
    app = LiteQ("threads", broker=f"sqlite:///{tmp_path / 'queue.db'}", durability="relaxed")
    task = app.task(lambda n: n, name="echo")

    def sends_and_asks() -> None:
        assert task.delay(1).state == "PENDING"

    assert not at_once(SECONDS, sends_and_asks)
    app.storage.close()


def test_the_last_connection_that_closes_between_two_looks_is_no_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the log and its index along, after it has had them forgotten."""
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"queue.db{suffix}").touch()
    known = sidecars.Sidecars(str(tmp_path / "queue.db"))
    known.note()

    def closed_meanwhile(path: str) -> tuple[int, int]:
        known.forget()
        os.unlink(path)
        return (0, 0)

    monkeypatch.setattr(sidecars, "identity", closed_meanwhile)
    assert not known.log_lost()
    monkeypatch.undo()
    (tmp_path / "queue.db-wal").touch()
    known.note()
    (tmp_path / "queue.db-wal").unlink()
    assert known.log_lost()


def test_drivers_may_be_opened_while_others_look_for_them(tmp_path: Path, hasty: None) -> None:
    kept: list[Storage] = []  # that there is much to go through

    def opens() -> None:
        storage = open_storage(f"sqlite:///{tmp_path}/queue.db")
        kept.append(storage)
        storage.migrate()
        storage.close()

    assert not at_once(min(SECONDS, 10), opens, threads=12)


def test_the_log_of_many_threads_is_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of their connections does little before it is closed; what they do together counts."""
    monkeypatch.setattr(checkpoint, "PATIENCE_MS", 10_000)  # one that reads may be kept from the processor for long
    app = LiteQ("threads", broker=f"sqlite:///{tmp_path / 'queue.db'}", durability="relaxed")
    task = app.task(lambda _: None, name="large", ignore_result=True)
    text = "x" * 30_000
    sent: list[object] = []
    assert not at_once(
        SECONDS, lambda: sent.append(task.delay(text)), enough=lambda: len(sent) > 4 * WAL_LIMIT / 30_000
    )
    assert (tmp_path / "queue.db-wal").stat().st_size < 3 * WAL_LIMIT
    assert not app.storage.driver.warnings()
    app.storage.close()


def test_a_large_log_that_nobody_reads_is_laid_at_nobodys_door(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'queue.db'}")
    storage.migrate()
    with (tmp_path / "queue.db-wal").open("ab") as log:  # the log, not the database: no lock is on it
        log.truncate(LARGE_LOG + 1)
    (said,) = storage.driver.warnings()
    assert "nobody is seen to read" in said
    assert "PID" not in said
    storage.close()


# -- processes that stand still --------------------------------------------------------------------------------------


def native_threads() -> int:
    """How many threads this process has, also those that Python does not list."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


@posix
def test_a_process_that_is_stopped_at_the_gate_holds_nobody_up(tmp_path: Path) -> None:
    """Its turn comes, and it does not use it: the others wait once, and go on by SQLite's own lock."""
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    app = LiteQ("threads", broker=url)
    task = app.task(lambda: None, name="n", ignore_result=True)
    task.delay()
    code = "import sys; from liteq.storage.sqlite.turns.gate import open_gate; g = open_gate(sys.argv[1]); g.acquire(1)"
    code += "; print(flush=True); import time; time.sleep(600)"
    command = [sys.executable, "-c", code, str(tmp_path / "queue.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            holder.send_signal(signal.SIGSTOP)
            before, began = native_threads(), time.monotonic()
            task.delay()
            first, began = time.monotonic() - began, time.monotonic()
            for _ in range(20):
                task.delay()
            rest = time.monotonic() - began
        finally:
            holder.kill()
    assert first < 10 * PATIENCE_S
    assert rest < 10 * PATIENCE_S, "each waits anew for a turn that does not come"
    assert native_threads() <= before + 1, "each leaves a thread behind in the queue"
    assert sum(count.n for count in app.storage.reader.counts()) == 22
    app.storage.close()


SENDER = """
    import sys
    if sys.argv[1] == "gevent":
        from gevent import monkey
        monkey.patch_all()
    import threading, time
    from liteq import LiteQ
    app = LiteQ("greenlets", broker=sys.argv[2])
    task = app.task(lambda: None, name="n", ignore_result=True)
    sent = [0] * 20
    end = time.monotonic() + float(sys.argv[3])

    def send(n):
        while time.monotonic() < end or not sent[n]:
            task.delay()
            sent[n] += 1
            time.sleep(0)

    running = [threading.Thread(target=send, args=(n,)) for n in range(int(sys.argv[4]))]
    for thread in running: thread.start()
    for thread in running: thread.join()
    print(sum(sent), min(sent[:len(running)]))
"""


def rates(tmp_path: Path, kind: str) -> tuple[float, int, int]:
    """Twenty threads or greenlets and a second process send at once: sent by the twenty, by the last, by the second."""
    tmp_path.mkdir(exist_ok=True)
    url, code = f"sqlite:///{tmp_path / 'queue.db'}", textwrap.dedent(SENDER)
    storage = open_storage(url)
    storage.migrate()
    storage.close()
    started = [
        subprocess.Popen([sys.executable, "-c", code, k, url, str(SECONDS), n], stdout=subprocess.PIPE, text=True)
        for k, n in ((kind, "20"), ("threads", "1"))
    ]
    many, other = (process.communicate(timeout=SECONDS + 120)[0].split() for process in started)
    assert [process.returncode for process in started] == [0, 0]
    return int(many[0]), int(many[1]), int(other[0])


@posix
def test_greenlets_and_a_second_process_all_get_through(tmp_path: Path) -> None:
    """A greenlet that waited natively would stop the one that has the gate, and with it everybody, for good."""
    pytest.importorskip("gevent", reason="gevent is not installed: pip install gevent")
    sent, least, other = rates(tmp_path / "gevent", "gevent")  # ends when each has had its turn
    assert least > 0
    assert other > 0
    if NIGHTLY:  # beside other tests it says nothing
        native, _, _ = rates(tmp_path / "threads", "threads")
        assert sent / native >= 0.5


@posix
def test_a_child_is_not_forked_while_another_thread_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from liteq.utils import imports

    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert imports.settle(0.0)
    thread = threading.Thread(target=lambda: __import__("slow_to_import"))
    thread.start()
    wait_for(lambda: "slow_to_import" in sys.modules)
    assert not imports.settle(0.0)
    assert imports.settle(20.0)
    assert "slow_to_import" in sys.modules
    thread.join()


FORKS_BESIDE_AN_IMPORT = """
import os, signal, sys, threading, time
from liteq.storage.storage import open_storage
open_storage(sys.argv[1])
sys.path.insert(0, sys.argv[2])
threading.Thread(target=__import__, args=("liteq_slow_to_import",)).start()
while "liteq_slow_to_import" not in sys.modules:
    time.sleep(0.001)
pid = os.fork()
if pid == 0:
    signal.alarm(60)
    import liteq_slow_to_import
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@posix
def test_whoever_forks_does_so_after_the_imports_of_liteq_s_parts(tmp_path: Path) -> None:
    """A server that forks with the app loaded, multiprocessing: a thread may load a part of liteq at that moment."""
    (tmp_path / "liteq_slow_to_import.py").write_text("import time\ntime.sleep(0.5)\n")
    program = [sys.executable, "-c", FORKS_BESIDE_AN_IMPORT, f"sqlite:///{tmp_path / 'queue.db'}", str(tmp_path)]
    assert subprocess.run(program, timeout=120, check=False).returncode == 0


@posix
@pytest.mark.parametrize("library", ["apsw", "stdlib"])
def test_a_connection_that_is_being_closed_is_one_that_a_fork_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    """A child that is forked in the middle of it would have its locks in memory, and no word of it."""
    storage = open_storage(f"sqlite:///{tmp_path / 'queue.db'}?driver={library}")
    storage.migrate()
    driver: Any = storage.driver
    waited_for = []
    with driver.read() as tx:
        tx.execute("SELECT 1")
        kind = type(next(iter(driver._active[True])))
        before = kind.close

        def close(session: Any) -> None:
            waited_for.append(threading.get_ident() in driver._threads_inside())
            before(session)

        monkeypatch.setattr(kind, "close", close)
        with driver._lock:
            driver._close_idle()  # as where the file was replaced: what is in use is closed when it comes back
        waited_for.clear()
    assert waited_for == [True]
    assert not driver._threads_inside()
    storage.close()
