"""README.md, followed word for word."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def section(title: str) -> str:
    text = README.read_text(encoding="utf-8")
    return re.split(r"^## ", text.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_example_works_as_it_is_written():
    text = section("In 60 seconds")
    (module,) = blocks("python", text)
    worker, program = (block.removeprefix("$ ").strip() for block in blocks("console", text))
    Path("words.py").write_text(module)

    started = subprocess.Popen([sys.executable, "-m", *shlex.split(worker)], start_new_session=True)
    try:
        arguments = shlex.split(program)
        assert arguments[0] == "python"
        done = subprocess.run([sys.executable, *arguments[1:]], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
        started.send_signal(signal.SIGINT)
        assert started.wait(timeout=60) == 0
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def test_every_page_that_it_names_is_there():
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
