"""docs/tutorial/flask.md, followed word for word."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tutorial" / "flask.md"

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


def test_the_tutorial_works_as_it_is_written(tmp_path):
    tasks, letters, *session = blocks("python")
    assert all(">>>" in block for block in session)
    (tmp_path / "tasks.py").write_text(tasks)
    (tmp_path / "letters.py").write_text(letters)
    (command,) = re.findall(r"^\$ flask (.* liteq worker .*)$", "".join(blocks("console")), re.MULTILINE)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    talk = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    worker: subprocess.Popen[bytes] | None = None
    with subprocess.Popen([sys.executable, "-c", SESSION, *session], cwd=tmp_path, env=env, **talk) as reader:
        try:
            first = reader.stdout.readline()
            assert first == "done 0\n", first + reader.stdout.read()  # sent, and pending: no worker yet
            worker = subprocess.Popen([sys.executable, "-m", "flask", *command.split()], cwd=tmp_path, env=env)
            output, _ = reader.communicate("\n" * len(session), timeout=40)
            assert reader.returncode == 0, output
            worker.send_signal(signal.SIGINT)
            assert worker.wait(timeout=60) == 0
        finally:
            for process in (reader, worker):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()


def test_the_tests_of_the_how_to_pass_for_the_app_of_the_tutorial(tmp_path):
    tasks, letters, *_ = blocks("python")
    how_to = (PAGE.parents[1] / "howto" / "flask.md").read_text(encoding="utf-8")
    (tests,) = (
        block for block in re.findall(r"^```python\n(.*?)^```$", how_to, re.DOTALL | re.MULTILINE) if "pytest" in block
    )
    for name, text in {"tasks.py": tasks, "letters.py": letters, "test_letters.py": tests}.items():
        (tmp_path / name).write_text(text)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_letters.py"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
