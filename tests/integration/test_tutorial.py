"""docs/tutorial/first-steps.md, followed word for word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial" / "first-steps.md"

# Runs its arguments, each the text of one block, as one interactive session; after each it waits to be told to go on.
SESSION = """
import doctest, sys
names = {}
for number, block in enumerate(sys.argv[1:]):
    example = doctest.DocTestParser().get_doctest(block, names, f"block {number}", None, 0)
    failed = doctest.DocTestRunner().run(example, clear_globs=False).failed
    names = example.globs
    if failed:
        sys.exit(1)
    print("done", number, flush=True)
    sys.stdin.readline()
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@contextmanager
def started(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """A process in a group of its own, none of which survives the test."""
    process = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_tutorial_works_as_it_is_written(tmp_path):
    module, *session = blocks("python")
    assert all(">>>" in block for block in session)
    assert "$ liteq -A words worker -c 2" in "".join(blocks("console"))
    Path("words.py").write_text(module)

    talk = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with started([sys.executable, "-c", SESSION, *session], **talk) as reader:
        assert "done 0" in first_line(reader)  # sent, and pending: no worker yet
        with started([sys.executable, "-m", "liteq", "-A", "words", "worker", "-c", "2"]) as worker:
            output, _ = reader.communicate("\n" * len(session), timeout=40)
            assert reader.returncode == 0, output
            worker.send_signal(signal.SIGINT)
            assert worker.wait(timeout=15) == 0


def first_line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    return line if line.startswith("done") else line + process.stdout.read()
