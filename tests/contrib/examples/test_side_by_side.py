"""The program that runs an example: it ends with all that it has started, and says why it cannot start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "contrib" / "examples"
PROGRAM = f"""
import sys; sys.path.insert(0, {str(EXAMPLES)!r})
from pathlib import Path
from side_by_side import main, python
# In one write, which print() does not do unbuffered: both write to one pipe.
waits = python("-c", "import os, signal; os.write(1, b'here\\\\n'); signal.pause()")
main(Path("."), web=waits, worker=waits, default_port=0)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, *words]
        started.append(
            subprocess.Popen(
                command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield begin
    for program in started:  # of a test that failed
        if program.poll() is None:
            program.terminate()
        program.communicate(timeout=60)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_it_ends_what_it_has_started(start, signum):
    program = start()
    said = ""
    while said.count("here\n") < 2:
        line = program.stdout.readline()
        assert line, said
        said += line
    program.send_signal(signum)
    rest, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said + rest
    pids = [int(pid) for pid in re.findall(r"^\w+: process (\d+)", said, re.MULTILINE)]
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_taken_port_ends_it_with_a_message(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start("--port", str(port))
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 1
    assert said.startswith(f"port {port} cannot be used: ")
    assert "--port 0" in said
    assert "process" not in said
