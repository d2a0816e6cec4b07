"""A real `liteq worker` in processes of its own, for the length of a measurement."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.slots import Slots

__all__ = ["Bench", "bench"]

ROOT = Path(__file__).resolve().parent.parent


class Bench:
    """A fresh broker file, fresh slots, and the app on them."""

    def __init__(self, folder: Path, n_slots: int, durability: str) -> None:
        self.folder = folder
        os.environ["BENCH_BROKER"] = f"sqlite:///{folder}/bench.db"
        os.environ["BENCH_SLOTS"] = str(folder / "slots")
        os.environ["LITEQ_DURABILITY"] = durability
        Slots(folder / "slots", n_slots)
        sys.modules.pop("benchmarks.liteq_app", None)  # it reads the environment when it is imported
        self.tasks = importlib.import_module("benchmarks.liteq_app")
        self.slots: Slots = self.tasks.slots
        self.app = self.tasks.app

    @contextmanager
    def worker(self, children: int = 2) -> Iterator[subprocess.Popen[bytes]]:
        """A prefork worker; ready when its first task has run."""
        command = [sys.executable, "-m", "liteq", "-A", "benchmarks.liteq_app", "worker", "-c", str(children)]
        with (self.folder / "worker.log").open("ab") as log:
            process = self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def wait_for(self, slot: int, *, within_s: float = 60.0) -> float:
        """When the task of `slot` ran; polled finely, since this process has nothing else to do."""
        give_up = time.monotonic() + within_s
        while not (at := self.slots.at(slot)):
            if time.monotonic() > give_up or self._process.poll() is not None:
                log = (self.folder / "worker.log").read_text()
                raise TimeoutError(f"slot {slot} was not stamped; the worker said:\n{log}")
            time.sleep(0.0002)
        return at

    def warm_up(self, slot: int) -> None:
        """Wait until a worker has executed something."""
        self.tasks.noop.apply_async((slot,), ignore_result=True)
        self.wait_for(slot)


@contextmanager
def bench(n_slots: int, *, durability: str = "relaxed") -> Iterator[Bench]:
    """A bench in a temporary folder, on the disk that the temporary files of this machine are on."""
    with tempfile.TemporaryDirectory(prefix="liteq-bench-") as name:
        b = Bench(Path(name), n_slots, durability)
        try:
            yield b
        finally:
            b.app.close()
