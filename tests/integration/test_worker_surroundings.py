"""Surroundings in which a worker is started: closed streams, ignored signals, stale pidfiles."""

from __future__ import annotations

import gc
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from liteq.cli.processes.daemon import holder as holder_of
from liteq.exceptions import WorkerLostError

from .worker_process import HERE, Site, lives, wait_for

LITEQ = [sys.executable, "-m", "liteq"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def start(site: Site, before: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A worker in whose process `before`, some Python, has run before it was executed; back when it is ready."""
    log = site.log(len(site.workers))
    environment = {
        **os.environ,
        "WORKER_TEST_BROKER": site.broker,
        "WORKER_TEST_LEDGER": str(site.ledger),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    command = [sys.executable, "-m", "liteq", "-A", "worker_tasks", "worker", "-l", "INFO", "-f", str(log), *arguments]
    script = textwrap.dedent(before) + f"\nos.execv({sys.executable!r}, {command!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os, signal\n{script}"], env=environment, cwd=site.folder, start_new_session=True
    )
    site.workers.append(process)
    wait_for(lambda: (log.exists() and "ready." in log.read_text()) or process.poll() is not None, what="it is ready")
    assert process.poll() is None
    return process


def test_a_worker_without_standard_streams(site):
    """/dev/null gets their numbers, and none of the queue's files, which tasks would write to."""
    worker = start(site, "os.closerange(0, 3)", "-c", "1")
    assert site.get(site.send("writes_to_descriptors")) == 16
    streams = {os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in range(3)} if sys.platform == "linux" else set()
    assert streams <= {os.devnull}
    assert site.end(worker) == 0


def test_a_worker_whose_reader_has_gone(site):
    worker = start(
        site, "read, write = os.pipe(); os.dup2(write, 1); os.dup2(write, 2); os.closerange(read, write + 1)"
    )
    assert site.get(site.send("add", 1, 2)) == 3
    assert isinstance(site.error(site.send("die")), WorkerLostError), "and what it kills is replaced"
    assert site.get(site.send("add", 3, 4)) == 7
    assert site.end(worker) == 0


def test_children_do_not_read_the_worker_s_stdin(site):
    """A terminal that is not theirs would have the kernel stop them all."""
    (site.folder / "typed").write_text("for the shell\n")
    worker = start(site, "os.dup2(os.open('typed', os.O_RDONLY), 0)", "-c", "1")
    assert site.get(site.send("reads_stdin")) == ""
    assert site.end(worker) == 0


def test_a_child_has_the_collector_that_tasks_expect_and_leaves_alone_what_it_shares(site):
    worker = site.worker("-c", "2")
    for _ in range(4):
        enabled, threshold, frozen = site.get(site.send("collector"))
        assert (enabled, tuple(threshold)) == (True, gc.get_threshold())
        assert frozen > 10_000, "of the parent's objects"
    assert site.end(worker) == 0


def test_what_tasks_print_by_click_is_in_the_log_as_it_is(site):
    worker = site.worker("-c", "1")
    site.get(site.send("echoes", "to be or not to be"))
    assert site.end(worker) == 0
    assert "] to be or not to be\n" in site.log().read_text()


@pytest.mark.parametrize("driver", ["apsw", "stdlib"])
def test_a_worker_outlives_its_files(site, driver):
    """Somebody has deleted all of them: it says so, waits, and goes on when there is a queue again."""
    site.broker += f"?driver={driver}"
    worker = site.worker("-c", "1")
    assert site.get(site.send("add", 1, 2)) == 3
    site.app.close()
    for file in site.folder.glob("queue.db*"):
        file.unlink()
    wait_for(lambda: "trying again" in site.log().read_text(), what="it has noticed")
    assert worker.poll() is None
    site.app.storage.migrate()
    assert site.get(site.send("add", 3, 4)) == 7
    assert site.end(worker) == 0


def test_a_hangup_is_no_end_under_nohup(site):
    worker = start(site, "signal.signal(signal.SIGHUP, signal.SIG_IGN)", "-c", "1")
    task = site.send("nap", 0.5)
    site.wait_started(task)
    os.killpg(worker.pid, signal.SIGHUP)
    assert site.get(task) == "rested"
    assert site.get(site.send("add", 1, 2)) == 3, "it goes on"
    assert site.end(worker) == 0


def test_how_children_end_is_known_where_sigchld_was_ignored(site):
    worker = start(site, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)", "-c", "1")
    assert "SIGKILL" in str(site.error(site.send("die")))
    assert site.end(worker) == 0


def test_a_worker_is_detached_where_sigchld_was_ignored(site):
    pidfile = site.folder / "worker.pid"
    line = shlex.join([*LITEQ, "-b", site.broker, "worker", "--without-tasks", "-D", "--pidfile", str(pidfile)])
    done = subprocess.run(["sh", "-c", f"trap '' CHLD; exec {line}"], timeout=120, check=False)
    assert done.returncode == 0
    pid = int(pidfile.read_text())
    assert lives(pid)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not lives(pid), what="it has ended")


def test_of_many_that_find_a_dead_worker_s_pidfile_one_takes_it(tmp_path):
    """Between the look at it and its removal another one may have come: two workers would believe to have it."""
    take = """
        import sys, time
        from pathlib import Path
        from liteq.cli.processes.daemon import claim_pidfile
        sys.stdin.readline()
        claim_pidfile(Path("worker.pid"))
        print("mine", flush=True)
        sys.stdin.readline()
    """
    (tmp_path / "worker.pid").write_text("99999999\n")
    run = [sys.executable, "-c", textwrap.dedent(take)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(run, cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
            )
            for _ in range(6)
        ]
        for racer in racers:
            os.write(racer.stdin.fileno(), b"go\n")
        wait_for(lambda: sum(racer.poll() is None for racer in racers) == 1, what="the others have been refused")
        holder = next(racer for racer in racers if racer.poll() is None)
        assert (tmp_path / "worker.pid").read_text() == f"{holder.pid}\n"
        assert {racer.poll() for racer in racers if racer is not holder} == {73}
        assert holder.communicate(b"end\n")[0] == b"mine\n"
    assert not (tmp_path / "worker.pid").exists()


@pytest.mark.parametrize("number", ["another program's", "99999999999"])
def test_a_pidfile_whose_number_is_another_program_s_is_taken_over(tmp_path, number):
    """A container was killed: in the next one the number is its entrypoint's."""
    with subprocess.Popen(["sleep", "600"]) as other:
        pidfile = tmp_path / "worker.pid"
        pidfile.write_text(f"{other.pid if number.startswith('another') else number}\n")
        code = "import sys; from pathlib import Path; from liteq.cli.processes.daemon import *; p = Path(sys.argv[1])\n"
        code += "assert holder(p) is None; claim_pidfile(p); print(p.read_text(), flush=True); input()"
        run = [sys.executable, "-c", code, str(pidfile)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(run, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout.readline() == f"{worker.pid}\n"
            assert holder_of(pidfile) == worker.pid
            worker.communicate("end\n")
        other.kill()


def test_a_file_that_is_no_pidfile_stays_as_it_is(tmp_path):
    precious = tmp_path / "notes.txt"
    precious.write_text("to be or not to be\n")
    command = [
        sys.executable,
        "-m",
        "liteq",
        "-b",
        f"sqlite:///{tmp_path}/q.db",
        "worker",
        "--without-tasks",
        "--pidfile",
        str(precious),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "is no pidfile" in done.stderr) == (73, True)
    assert precious.read_text() == "to be or not to be\n"
