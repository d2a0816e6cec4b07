"""The oracle of limits: how many executions of a key went on at once, at most.

An execution writes its start and its end into a ledger: one line, in one write, to a file opened for append. So the
lines have one order, on which all processes agree. An execution that was killed has no end: the next one of its key
looks for such, by the kernel's table of processes, and writes their deaths before its own start. A stopped process
lives.

`begun(key, name)` is the tasks' side, `Ledger` the test's.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["Ledger", "Line", "begun", "note"]

EXITING = 0x4  # PF_EXITING: it runs no line of its program any more, although its number is still there
_numbers = count()


# -- the tasks' side ---------------------------------------------------------------------------------------------------


def note(folder: Path, event: str, key: str, name: str) -> None:
    """One line, with the process and the machine's monotonic clock: whole or not there, whoever is killed."""
    line = f"{event} {quote(key, safe=':@')} {name} {os.getpid()} {time.monotonic_ns()}\n"
    fd = os.open(folder / "overlaps", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


@contextmanager
def begun(folder: Path, key: str, name: str) -> Iterator[None]:
    """An execution of `key`, from its start to its end, by return or by exception."""
    me = os.getpid()
    execution = f"{name}.{me}.{_born(me)}.{next(_numbers)}"
    marks = folder / "running" / quote(key, safe=":@")
    marks.mkdir(parents=True, exist_ok=True)
    mark = marks / execution
    mark.touch()  # before the line: an execution of which there is a line can be found dead
    for other in os.listdir(marks):
        if not _lives(other):
            note(folder, "died", key, other)  # perhaps by two at once: the second line says nothing new
            (marks / other).unlink(missing_ok=True)
    note(folder, "start", key, execution)
    try:
        yield
    finally:
        note(folder, "end", key, execution)
        mark.unlink(missing_ok=True)


def _born(pid: int) -> str | None:
    """The start of a process in the kernel's ticks: with it a number is not taken for that of a later process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" or int(fields[6]) & EXITING else fields[19]


def _lives(execution: str) -> bool:
    _, pid, born, _ = execution.rsplit(".", 3)
    return _born(int(pid)) == born


# -- the test's side ---------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One line of the ledger. `at_s`: seconds of the machine's monotonic clock."""

    event: str
    key: str
    execution: str
    pid: int
    at_s: float

    @property
    def name(self) -> str:
        """The name that the task gave its execution: its id."""
        return self.execution.split(".")[0]


class Ledger:
    """The lines that the executions of a drill have written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "overlaps"
        self._counted = (0, 0)  # bytes and lines that were read

    def count(self) -> int:
        """How many lines there are; reads those alone that are new."""
        read, lines = self._counted
        if self._path.exists() and self._path.stat().st_size > read:
            with self._path.open("rb") as file:
                file.seek(read)
                data = file.read()
            self._counted = (read + len(data), lines + data.count(b"\n"))
        return self._counted[1]

    def lines(self, event: str = "", key: str = "") -> list[Line]:
        """Whole lines in their order; of one event, of one key, where these are given."""
        text = self._path.read_text() if self._path.exists() else ""
        rows = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
        lines = (Line(event, key, name, int(pid), int(ns) / 1e9) for event, key, name, pid, ns in rows)
        return [line for line in lines if event in {"", line.event} and quote(key, safe=":@") in {"", line.key}]

    def greatest(self) -> dict[str, int]:
        """How many executions of each key went on at once, at most."""
        running: dict[str, set[str]] = defaultdict(set)
        most: Counter[str] = Counter()
        for line in self.lines():
            if line.event == "start":
                running[line.key].add(line.execution)
                most[line.key] = max(most[line.key], len(running[line.key]))
            elif line.event in {"end", "died"}:
                running[line.key].discard(line.execution)
        return dict(most)

    def running(self, key: str) -> list[Line]:
        """The starts of `key` whose process lives and has written no end."""
        over = {line.execution for line in self.lines(key=key) if line.event in {"end", "died"}}
        starts = self.lines("start", key)
        return [line for line in starts if line.execution not in over and _lives(line.execution)]

    def ended(self) -> Counter[str]:
        """How often each execution came to its end, by the name that its task gave it."""
        return Counter(line.name for line in self.lines("end"))
