"""Follow a page of the documentation as a reader does: write its files, type its commands and its Python.

A fenced block is one of these, told by its language and the line before it:

- a file, where the line before ends with its name: "`words.py`:";
- `console`: each line after `$ ` is typed, the lines below it are the output, "..." is any text;
- `python` with `>>>`: typed into Python, which is started anew when a file has changed.

A worker, a beat or a web server runs beside the page until the page starts another, or ends. Then it is told to stop,
as by Ctrl-C, and must end well.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w./-]*\.\w+|Dockerfile)`:$")
BESIDE = re.compile(r"\b(liteq|manage\.py|flask)\b.*\b(worker|beat)\b(?!.*--help)")
# In the place of an environment that pip would fill from the network: the one in which the tests run.
VENV = """
test "$1 $2" = "-m venv" && test $# -eq 3 || {{ echo "only -m venv FOLDER is known here"; exit 2; }}
mkdir -p "$3/bin"
echo 'PATH='"$(cd "$3/bin" && pwd)"':$PATH' > "$3/bin/activate"
printf '#!/bin/sh\\ntest "$1" = install && test -f pyproject.toml && case "$2" in .*) ;; *) exit 2;; esac\\n' \\
    > "$3/bin/pip"
chmod 755 "$3/bin/pip"
for name in python liteq; do
    printf '#!/bin/sh\\nexec {bin}/%s "$@"\\n' "$name" > "$3/bin/$name"
    chmod 755 "$3/bin/$name"
done
"""
# What the machine's administrator types. Another program of that name says nothing and does nothing.
OF_THE_MACHINE = ("sudo", "docker", "systemctl", "journalctl")
# A shell of its own for each command: where the last one stood, and whether it had the environment switched on.
REMEMBER = """code=$?; printf '%s\\n' "$PWD" "$PATH" > "$READER_SHELL"; exit $code"""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

TYPED = """
import doctest, json, sys
names = {}
for line in sys.stdin:
    runner = doctest.DocTestRunner(verbose=False, optionflags=int(sys.argv[1]))
    example = doctest.DocTestParser().get_doctest(json.loads(line), names, "page", None, 0)
    heard = []
    failed = runner.run(example, out=heard.append, clear_globs=False).failed
    names = example.globs
    print("".join(heard) if failed else "", end="\\0", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block; `file` is the name that the line before gives it, "" where there is none."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of `page`, in order."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        before = text[: found.start()].rstrip().rpartition("\n")[2]
        named = NAMED.search(before)
        yield Block(found[1], found[2], named[1] if named else "")


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = command[:-1] + more
        yield command, output


class Reader:
    """Stands in `folder`, with the programs of the environment in which the tests run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = folder.parent / f"{folder.name}-programs"
        self._own.mkdir()
        for name in OF_THE_MACHINE:
            self._program(name, "exit 0")
        self._program("python3", VENV.format(bin=Path(sys.executable).parent))
        self._environ = {
            **os.environ,
            "PATH": ":".join([str(self._own), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "READER_SHELL": str(self._own / "shell"),
        }
        self._python: subprocess.Popen[str] | None = None
        self._beside: list[subprocess.Popen[str]] = []
        self.typed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._leave_python()
        try:
            self._stop_beside(must_end_well=kind is None)
        finally:
            for process in self._beside:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def follow(self, page: Path) -> None:
        """Do all that `page` says. Raises AssertionError where something else comes of it."""
        for block in blocks(page):
            if block.file:
                self._write(block)
            elif block.language == "console":
                for command, output in commands(block.text):
                    self.type(command, output)
            elif block.language == "python" and ">>>" in block.text:
                self._into_python(block.text)
            else:
                raise AssertionError(f"neither a file, nor commands, nor typed into Python:\n{block.text}")

    def type(self, command: str, output: str = "") -> None:
        """Run one command; what it prints must be `output`, where that is given."""
        self.typed.append(command)
        options = {"cwd": self.folder, "env": self._environ, "text": True, "start_new_session": True}
        if BESIDE.search(command):
            self._stop_beside()
            self._beside.append(subprocess.Popen(command, shell=True, executable="/bin/bash", **options))
            return
        done = subprocess.run(
            f"{command}\n{REMEMBER}", shell=True, executable="/bin/bash", timeout=120, **options,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        folder, self._environ["PATH"] = (self._own / "shell").read_text().splitlines()
        self.folder = Path(folder)
        assert done.returncode == 0 or output, f"$ {command}\n{done.stdout}"
        if output:
            assert doctest.OutputChecker().check_output(output, done.stdout, FLAGS), f"$ {command}\n{done.stdout}"

    def _write(self, block: Block) -> None:
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        self._leave_python()

    def _into_python(self, text: str) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", TYPED, str(FLAGS)], cwd=self.folder, env=self._environ, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        stdin, stdout = self._python.stdin, self._python.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(text) + "\n")
        stdin.flush()
        said = ""
        while not said.endswith("\0"):
            more = stdout.read(1)
            assert more, said  # Python has ended
            said += more
        assert said == "\0", said

    def _leave_python(self) -> None:
        if self._python is not None:
            self._python.kill()
            self._python.communicate()
            self._python = None

    def _stop_beside(self, *, must_end_well: bool = True) -> None:
        for process in self._beside:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=60)
            assert code == 0 or not must_end_well, f"{process.args} ended with {code}"
        self._beside.clear()

    def _program(self, name: str, body: str) -> None:
        path = self._own / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
