"""The oracle of limits: it sees an overlap, and takes neither a dead execution for a living one nor the reverse."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import HERE, wait_for
from .overlaps import Ledger, begun

Begin = Callable[[str], "subprocess.Popen[bytes]"]
BEGINS = """
import sys, time
from pathlib import Path
from overlaps import begun
with begun(Path(sys.argv[1]), "key", sys.argv[2]):
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by Linux's /proc")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Start a process that executes the key until it is killed; back when it has begun."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", BEGINS, str(tmp_path), name]
        started.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)}))
        wait_for(lambda: name in {line.name for line in Ledger(tmp_path).lines("start")})
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_oracle_counts_what_overlaps_by_key(tmp_path: Path) -> None:
    with begun(tmp_path, "a", "1"), begun(tmp_path, "a", "2"), begun(tmp_path, "b", "3"):
        pass
    with begun(tmp_path, "b", "4"):
        pass
    assert Ledger(tmp_path).greatest() == {"a": 2, "b": 1}
    assert Ledger(tmp_path).ended() == {"1": 1, "2": 1, "3": 1, "4": 1}


def test_the_oracle_sees_that_an_execution_was_killed(tmp_path: Path, begin: Begin) -> None:
    first = begin("first")
    first.kill()  # nobody has waited for it yet: there is a zombie of that number
    wait_for(lambda: not Ledger(tmp_path).running("key"))
    with begun(tmp_path, "key", "second"):
        assert Ledger(tmp_path).greatest() == {"key": 1}
    assert [line.name for line in Ledger(tmp_path).lines("died")] == ["first"]


def test_the_oracle_takes_a_stopped_execution_for_a_living_one(tmp_path: Path, begin: Begin) -> None:
    begin("first").send_signal(signal.SIGSTOP)
    begin("second")
    assert Ledger(tmp_path).greatest() == {"key": 2}
    assert {line.name for line in Ledger(tmp_path).running("key")} == {"first", "second"}
