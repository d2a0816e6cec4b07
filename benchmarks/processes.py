"""The workers of a contestant, for the length of a measure; their memory and their use of the processor."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from benchmarks.slots import Slots

__all__ = ["NotOffered", "Workers", "cpu_s", "pss_mib", "ticks_s", "wake_ups", "with_descendants"]

ROOT = Path(__file__).resolve().parent.parent
PROC = Path("/proc")
STOP_S = 1.0  # what they still hold is thrown away with the folder


class NotOffered(Exception):
    """Raised when a contestant, or this machine, has no way to do what a measure asks for."""


class Workers:
    """`with Workers(commands, folder, slots): ...`: process groups of their own, ended by TERM, in need by KILL."""

    def __init__(self, commands: list[list[str]], folder: Path, slots: Slots) -> None:
        self._commands, self._log, self._slots = commands, folder / "workers.log", slots
        self._groups = folder / "groups"
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("ab") as log:
            for command in self._commands:
                self.processes.append(
                    subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
                )
                with self._groups.open("a") as groups:  # for who must clear up behind a driver that hangs
                    groups.write(f"{self.processes[-1].pid}\n")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + STOP_S
        for process in self.processes:
            try:
                process.wait(timeout=max(give_up - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                pass
            try:  # and whatever it left behind in its group
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def wait_for(self, slot: int, *, within_s: float = 60.0, every_s: float = 0.0002) -> float:
        """When the task of `slot` ran, in seconds of the monotonic clock. Raises TimeoutError with the workers' log."""
        give_up = time.monotonic() + within_s
        while not (at := self._slots.at(slot)):
            self._still_hopeful(give_up, f"slot {slot} was not stamped")
            time.sleep(every_s)
        return at

    def wait_for_all(self, n: int, *, within_s: float = 60.0) -> list[float]:
        """The stamps of the first `n` slots, once none is missing. Polls at 5 ms: the workers need the processors."""
        give_up = time.monotonic() + within_s
        for slot in reversed(range(n)):  # the last is usually the last; then no other is waited for
            while not self._slots.at(slot):
                self._still_hopeful(give_up, f"slot {slot} of {n} was not stamped")
                time.sleep(0.005)
        return self._slots.times(n)

    def wait_for_runs(self, n: int, times: int, *, within_s: float = 120.0) -> None:
        """Until each of the first `n` tasks ran that often."""
        give_up = time.monotonic() + within_s
        while min(self._slots.executions(n)) < times:
            self._still_hopeful(give_up, f"not all of {n} ran {times} times")
            time.sleep(0.05)

    def _still_hopeful(self, give_up: float, what: str) -> None:
        if time.monotonic() > give_up or any(process.poll() is not None for process in self.processes):
            raise TimeoutError(f"{what}; the workers said: {self._log.read_text(errors='replace')[-2000:]}")

    def tree(self) -> list[int]:
        """The process ids of the workers and of all their descendants."""
        return with_descendants([process.pid for process in self.processes])


def with_descendants(pids: list[int]) -> list[int]:
    """These process ids and those of all their descendants."""
    if not PROC.is_dir():
        raise NotOffered("the system has no /proc")
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the command's name, which may hold spaces."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def pss_mib(pids: list[int]) -> float:
    """Proportional set size of all: shared pages are counted once, divided among who shares them.

    One that has ended meanwhile, as a server's helper may, has none.
    """
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def wake_ups(pids: list[int]) -> int:
    """How often the threads of these processes have gone to sleep so far, and so were woken."""
    total = 0
    for pid in pids:
        for thread in (PROC / str(pid) / "task").iterdir():
            status = (thread / "status").read_text()
            total += int(status.partition("\nvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return total


def cpu_s(pids: list[int]) -> float:
    """Seconds of processor time that these processes used so far: by the scheduler's count, which is in nanoseconds,
    of each thread; by clock ticks of 10 ms where the kernel keeps none."""
    threads = [thread for pid in pids for thread in (PROC / str(pid) / "task").iterdir()]
    try:
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except FileNotFoundError:
        return ticks_s(pids)


def ticks_s(pids: list[int]) -> float:
    """The same by clock ticks of 10 ms, with the threads that have ended."""
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in map(_stat, pids))
    return ticks / os.sysconf("SC_CLK_TCK")
