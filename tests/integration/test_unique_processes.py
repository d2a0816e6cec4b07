"""Unique calls of many processes, while workers are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from liteq.states import State

from ..faults.sizes import NIGHTLY, size
from .worker_process import HERE, Site, wait_for

KILLS = size("UNIQUE_KILLS", 3, 30)  # each is the start of one more worker, beside the senders
SENDERS = size("UNIQUE_SENDERS", 4, 8)

pytestmark = [
    pytest.mark.timeout(3600 if NIGHTLY else 180),
    pytest.mark.skipif(sys.platform != "linux", reason="kills process groups, and reads one monotonic clock"),
]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("LITEQ_MAX_CRASHES", "1000")
    monkeypatch.setenv("LITEQ_MAX_REAPS", "1000")
    site = Site(tmp_path, "unique_tasks")
    site.app.storage.migrate()
    yield site
    site.close()


class Answer:
    """A call as its sender saw it."""

    def __init__(self, line: str) -> None:
        id_, duplicate, n, at = line.split()
        self.id, self.duplicate, self.n, self.at = id_, duplicate == "1", int(n), float(at)


@contextmanager
def sending(site: Site, task: str, senders: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that send until the file "enough" is there, each to a file "sent-<n>"; none is left afterwards."""
    environment = {
        **os.environ, "WORKER_TEST_BROKER": site.broker, "WORKER_TEST_LEDGER": str(site.ledger),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }  # fmt: skip
    command = [sys.executable, str(HERE / "unique_tasks.py"), task, str(site.folder / "enough")]
    started: list[subprocess.Popen[str]] = []
    try:
        for n in range(senders):
            with sent(site, n).open("w") as out:  # a pipe that nobody reads yet would fill up
                started.append(subprocess.Popen(command, env=environment, stdout=out, text=True))
        yield started
    finally:
        for sender in started:
            sender.kill()
            sender.wait()


def sent(site: Site, n: int) -> Path:
    return site.folder / f"sent-{n}"


Enough = Callable[[list[list[str]]], bool]


def three_executed(noted: list[list[str]]) -> bool:
    return len({line[1] for line in noted}) >= 3


def answers(site: Site, task: str, senders: int, enough: Enough = three_executed) -> list[Answer]:
    """Let processes send, and kill the worker so many times meanwhile; all calls, when nothing is left to do.

    They send until the ledger has `enough`, which is not a time: a busy machine comes to less in one.
    """
    rng, worker = random.Random(7), site.worker("-c", "2")
    with sending(site, task, senders) as started:
        wait_for(lambda: all(sent(site, n).stat().st_size for n in range(senders)), what="each has sent")
        for n in range(KILLS):
            wait_for(partial(has_begun, site, lines(site), other=bool(n % 2)), what="a task has begun")
            time.sleep(rng.random() * 0.03)  # at any point of an execution
            os.killpg(worker.pid, signal.SIGKILL)
            worker = site.worker("-c", "2")
        wait_for(lambda: enough(lines(site)), what="enough is executed")
        (site.folder / "enough").touch()
        assert [sender.wait(timeout=60) for sender in started] == [0] * senders
    wait_for(lambda: site.waiting() == 0, what="all is done")
    assert site.end(worker) == 0
    return [Answer(line) for n in range(senders) for line in sent(site, n).read_text().splitlines()]


def has_begun(site: Site, before: list[list[str]], *, other: bool) -> bool:
    """Whether something was executed since; `other`: something else than was last.

    Killed at each execution, a message would never end on a busy machine.
    """
    return any(not other or not before or one[1] != before[-1][1] for one in lines(site)[len(before) :])


def lines(site: Site) -> list[list[str]]:
    return [line.split() for line in site.ledger.read_text().splitlines()] if site.ledger.exists() else []


def left(site: Site) -> list[tuple[object, ...]]:
    """The keys that still exclude others."""
    with site.app.storage.driver.read() as tx:
        rows = tx.execute("SELECT unique_key FROM liteq_messages WHERE unique_key IS NOT NULL AND finished_ms IS NULL")
        return rows + tx.execute("SELECT key FROM liteq_unique")


def test_of_equal_calls_from_many_processes_there_is_one_message_at_a_time(site: Site) -> None:
    called = answers(site, "refresh", SENDERS)
    own = [one.id for one in called if not one.duplicate]
    assert 1 < len(own) < len(called)
    assert len(set(own)) == len(own)
    assert {one.id for one in called} == set(own), "a duplicate is a message that somebody has sent"
    assert {site.state(id_) for id_ in own} == {State.SUCCEEDED}
    executed = [id_ for id_, _ in groupby(id_ for event, id_, _ in lines(site) if event == "started")]
    assert len(executed) == len(set(executed)), "one has ended before the next begins"
    assert left(site) == []


def test_the_last_of_many_calls_runs_and_none_waits_too_long(site: Site) -> None:
    called = answers(site, "save", 1)
    saved = {int(n): float(at) for event, n, at in reversed(lines(site)) if event == "saved"}
    assert max(saved) == called[-1].n
    assert [n for event, n, _ in lines(site) if event == "saved"][-1] == str(called[-1].n), "it is the last that runs"
    assert len(saved) < len(called)
    records = [site.record(id_) for id_ in {one.id for one in called}]
    assert max(record.due_ms - record.created_ms for record in records) <= 800, "max_wait"
    assert left(site) == []


def test_no_two_start_within_a_period_although_workers_are_killed(site: Site) -> None:
    called = answers(site, "ping", 1, lambda noted: len(periods(noted)) >= 3)
    ends = periods(lines(site))
    assert min(after - before for before, after in pairwise(ends)) >= 500
    assert [n for event, n, *_ in lines(site) if event == "pinged"][-1] == str(called[-1].n)


def periods(noted: list[list[str]]) -> list[int]:
    """When the period of each message ended, by its first execution."""
    first = {id_: int(until_up_ms) for _, _, until_up_ms, id_ in reversed(noted) if until_up_ms != "-"}
    return sorted(first.values())
