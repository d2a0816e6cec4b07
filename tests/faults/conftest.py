"""Fixtures that several fault tests share: clocks that are set, and strangers that hold something of the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteq.storage.storage import Storage, open_storage

from .clocks import TwoClocks
from .harness import Drill, Hold
from .limits_crew import Crew, NewCrew


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def storage(tmp_path: Path, clock: TwoClocks) -> Iterator[Storage]:
    storage = open_storage(f"sqlite:///{tmp_path}/queue.db", clock=clock, durability="relaxed", max_reaps=1_000_000)
    storage.migrate()
    yield storage
    storage.close()


@pytest.fixture
def hold(drill: Drill) -> Iterator[Hold]:
    """Start a process that takes something and keeps it until it is told to go on."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *args]
        process = subprocess.Popen(command, env=drill.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def crew_of(tmp_path: Path) -> Iterator[NewCrew]:
    """Start a crew of workers, as `Crew(folder, ...)`."""
    crews: list[Crew] = []

    def start(*args: int, **settings: str) -> Crew:
        crews.append(Crew(tmp_path, *args, **settings))
        return crews[-1]

    yield start
    for crew in crews:
        crew.close()
