"""Progress, streams and named sends with real workers: seen while the task runs, and each element once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq import Chunk
from liteq.result.waiting import DoneBell

from .worker_process import HERE, Site, wait_for

ELEMENTS = 20_000
KILLS = 6

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills process groups, and uses the prefork pool")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, "telling_tasks")
    yield made
    made.close()


def call(site: Site, *args: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "WORKER_TEST_BROKER": site.broker,
        "WORKER_TEST_LEDGER": str(site.ledger),
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, *args], env=environment, cwd=site.folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_last_report_is_shown_while_the_task_goes_on(site, pool):
    site.worker("-P", pool, "-c", "1")
    result = site.app.send_task("telling_tasks.import_rows", (1_000,))
    with DoneBell(site.app) as bell:  # each report rings: the reader waits, and polls nothing
        while result.progress is None or result.progress.done < 1_000:
            bell.wait(60)
    assert result.progress[:3] == (1_000, 1_000, "row 1000")
    assert result.state == "PROGRESS"
    (site.folder / "go on").touch()
    assert result.get(timeout=60) == "done"
    assert result.progress.done == 1_000


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_stream_is_read_as_it_comes_although_the_result_is_ignored(site, pool):
    site.worker("-P", pool, "-c", "1")
    result = site.app.send_task("telling_tasks.words")
    found = []
    for chunk in result.stream("words"):
        found.append(chunk)
        (site.folder / f"read {chunk.offset}").touch()
    assert found[:3] == [Chunk(1, 1, "one"), Chunk(2, 1, "two"), Chunk(3, 1, "three")]
    assert [chunk.data for chunk in found[3:]] == list(range(100))


def test_the_chunks_of_one_that_was_killed_are_told_apart(site):
    site.worker("-c", "1")
    result = site.app.send_task("telling_tasks.dies_once")
    found = []
    for chunk in result.stream("words"):
        found.append((chunk.attempt, chunk.data))
        (site.folder / "kill").touch()
    assert found == [(1, "first"), (2, "first"), (2, "second")]


def test_the_command_line_draws_while_it_waits(site):
    site.worker("-c", "1")
    name = "telling_tasks.import_rows"
    waiting = call(site, "-m", "liteq", "-A", "telling_tasks", "call", name, "-a", "[3]", "--wait")
    assert waiting.stderr is not None
    first = waiting.stderr.readline()
    assert re.match(r"[123] of 3 \(\d+ %\)(, .* left)?: row [123]\n", first)
    (site.folder / "go on").touch()
    out, err = waiting.communicate(timeout=60)
    assert (json.loads(out), waiting.returncode) == ("done", 0)
    assert "3 of 3 (100 %): row 3" in first + err


@pytest.mark.timeout(300)  # it starts an interpreter for each kill
def test_each_element_of_a_named_send_runs_once_although_its_sender_is_killed_again_and_again(site):
    """The messages run meanwhile and leave no trace: the place in the file alone says what was sent."""
    site.worker("-c", "2")
    sender, there = str(HERE / "telling_tasks.py"), 0
    for _ in range(KILLS):
        sending = call(site, sender, str(ELEMENTS))
        before = there
        wait_for(lambda: place_of(site) > min(before, ELEMENTS * 8 // 10) or sending.poll() is not None)
        os.killpg(sending.pid, signal.SIGKILL)
        sending.communicate()
        assert sending.returncode == -signal.SIGKILL, "it came to its end before it was killed"
        there = place_of(site)
    (site.folder / "come to the end").touch()
    last = call(site, sender, str(ELEMENTS))
    out, err = last.communicate(timeout=120)
    assert out == f"Sent(count={ELEMENTS - there}, skipped={there})\n", err
    wait_for(lambda: not site.app.storage.reader.counts(), within_s=60, what="all have run")
    assert sorted(map(int, site.ledger.read_text().split())) == list(range(ELEMENTS))


def place_of(site: Site) -> int:
    return site.app.storage.sends.place("telling_tasks.element all of them")
