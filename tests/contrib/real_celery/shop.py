"""A shop on one liteq file: workers of Celery as processes, an app of Celery's that sends, and liteq's view of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from liteq import LiteQ

__all__ = ["NEEDS_CELERY", "Shop"]

HERE = Path(__file__).resolve().parent
ENTRIES = [entry.name for found in distributions(name="liteq-tasks") for entry in found.entry_points]
IS_THERE = any(True for _ in distributions(name="celery")) and ENTRIES.count("liteq") > 1
NEEDS_CELERY = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not IS_THERE, reason="Celery itself is not installed beside liteq (tox -e celery)"),
    pytest.mark.filterwarnings("ignore"),  # Celery's own
]
WITHIN_S = 120.0


class Shop:
    """The file in `folder`, and what works on it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.path = folder / "shop.db"
        self.url = f"liteq:///{self.path}"
        self.options = {"durability": "relaxed", **options}
        self.modules = ("app_of_shop", "liteq_shop")  # of the apps of Celery's and liteq's workers
        self.env = {
            **os.environ, "SHOP_QUEUE": self.url, "SHOP_OPTIONS": json.dumps(self.options),
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip
        self.workers: list[subprocess.Popen[bytes]] = []
        self.within_s = WITHIN_S
        self._started = 0  # workers, of which some may have been taken off the list
        self._app: Any = None
        self.liteq = LiteQ("shop", broker=f"sqlite:///{self.path}", set_as_current=False)

    @property
    def app(self) -> Any:
        """An app of Celery's that only sends and looks."""
        if self._app is None:
            from celery import Celery

            self._app = Celery("shop", broker=self.url, backend=self.url, set_as_current=False)
            self._app.conf.broker_transport_options = self.options
        return self._app

    def send(self, name: str, *args: Any, **options: Any) -> Any:
        """Send a task of the shop; Celery's result."""
        return self.app.send_task(f"shop.{name}", args, **options)

    def sig(self, name: str, *args: Any, **options: Any) -> Any:
        """A signature of a task of the shop."""
        return self.app.signature(f"shop.{name}", args, **options)

    def start(
        self, *options: str, children: int = 2, pool: str = "prefork", alone: bool = True, **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker of Celery's, in a process group of its own; `alone`: it does not talk to the others."""
        log = self._next_log()
        command = [sys.executable, "-m", "celery", "-A", self.modules[0], "worker", "-P", pool, "-c", str(children)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"] if alone else []
        name = ["-n", f"w{self._started - 1}@%h"]
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [*command, "-l", "INFO", *quiet, *name, *options], env={**self.env, **env}, cwd=self.folder, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def start_liteq(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker of liteq's on the same file, with tasks of the same names."""
        command = [sys.executable, "-m", "liteq", "-A", self.modules[1], "worker", "-c", "1", "-l", "WARNING", *options]
        with self._next_log().open("wb") as out:
            worker = subprocess.Popen(
                command, env=self.env, cwd=HERE, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.workers.append(worker)
        return worker

    def _next_log(self) -> Path:
        self._started += 1
        return self.folder / f"worker-{self._started - 1}.log"

    def command(self, *words: str, may_fail: bool = False) -> str:
        """The output of a command of Celery's or liteq's: it has to succeed, but for `may_fail`."""
        done = subprocess.run(
            [sys.executable, "-m", *words], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert may_fail or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def listen(self, *words: str) -> Callable[[], str]:
        """Start a command of Celery's or liteq's that goes on; what it has said so far."""
        log = self._next_log()
        with log.open("wb") as out:
            listener = subprocess.Popen(
                [sys.executable, "-u", "-m", *words], env={**self.env, "PYTHONUNBUFFERED": "1"}, cwd=self.folder,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.workers.append(listener)
        return partial(log.read_text, encoding="utf-8", errors="replace")

    def log(self, n: int = 0) -> str:
        """The log of the worker that was started as the n-th."""
        return (self.folder / f"worker-{n}.log").read_text(encoding="utf-8", errors="replace")

    def wait(self, fact: Callable[[], Any], within_s: float | None = None) -> Any:
        """The first true value of `fact`."""
        within_s = self.within_s if within_s is None else within_s
        until = time.monotonic() + within_s
        while not (found := fact()):
            if time.monotonic() > until:
                logs = "\n".join(self.log(n)[-2000:] for n in range(self._started)[-4:])
                raise AssertionError(f"not within {within_s} s; the workers said:\n{logs}")
            time.sleep(0.02)
        return found

    def lines(self, name: str) -> list[str]:
        """The lines that tasks have written to a file."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def record(self, id_: str) -> Any:
        """The row of a message; None where there is none."""
        return self.liteq.storage.reader.find(id_)

    @staticmethod
    def kill(worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its children at once."""
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                self.kill(worker)
        if self._app is not None:
            self._app.close()
        self.liteq.close()
