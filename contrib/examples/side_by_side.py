"""Run a web server and a worker together, for development: `python run.py` of each example.

A process that dies is started again, so that the worker may be killed to see that nothing is lost. Ctrl-C ends all.
In production a service manager does this: docs/howto/run-a-worker.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from _thread import start_new_thread
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

__all__ = ["main", "python"]

CHECKOUT = Path(__file__).resolve().parents[2]
AGAIN_S = 0.2  # before a dead process is started again
GRACE_S = 20.0  # for a warm end


def python(*args: str) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *args]


def free_port() -> int:
    """A port that nobody has on this machine now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def refuse_taken(port: int) -> None:
    """End this program where another one listens on `port`: the web server would die and be started for ever."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise SystemExit(f"port {port} cannot be used: {exc.strerror}; choose one: --port N, or --port 0") from None


class Process:
    """One command that is to run until all is stopped."""

    def __init__(self, name: str, command: list[str], env: dict[str, str]) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._start()

    def _start(self) -> None:
        # A group of its own: Ctrl-C on the terminal is this program's to pass on, once.
        self._popen = subprocess.Popen(self._command, env=self._env, process_group=0)
        print(f"{self.name}: process {self._popen.pid}", flush=True)

    def again(self) -> None:
        """Start it again if it has died."""
        code = self._popen.poll()
        if code is not None:
            print(f"{self.name}: ended with {code}, starting again", flush=True)
            self._start()

    def end(self) -> None:
        """Ask it to finish what it does."""
        if self._popen.poll() is None:
            self._popen.terminate()

    def wait(self) -> None:
        """Wait for its end, which comes."""
        try:
            self._popen.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()


def main(
    folder: Path, web: list[str], worker: list[str], *, default_port: int, before: Sequence[list[str]] = ()
) -> None:
    """Run `web` and `worker` in `folder` until Ctrl-C or TERM. `{port}` in them is the port, --port or the default.

    `before`: commands that are to succeed first.
    """
    parser = argparse.ArgumentParser(description="Run the example: web server and worker.")
    parser.add_argument("--port", type=int, default=default_port, help=f"0: any that is free; default {default_port}")
    port = parser.parse_args().port or free_port()
    refuse_taken(port)

    stop = threading.Event()

    def ask_to_stop(_signum: int, _frame: FrameType | None) -> None:
        start_new_thread(stop.set, ())  # the signal may have come into a wait() that holds the event's lock

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    if hasattr(signal, "SIGHUP"):  # the terminal is closed: else web server and worker, of groups of their own, stay
        signal.signal(signal.SIGHUP, ask_to_stop)
    os.chdir(folder)
    # An installed liteq is found anyway; in a bare checkout, the sources are.
    paths = [str(folder), str(CHECKOUT), str(CHECKOUT / "contrib"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
    for command in before:
        subprocess.run(command, env=env, check=True)
    print(f"http://127.0.0.1:{port}/   (Ctrl-C ends it)", flush=True)
    processes = [
        Process(name, [part.format(port=port) for part in command], env)
        for name, command in (("web", web), ("worker", worker))
    ]
    while not stop.wait(AGAIN_S):
        for process in processes:
            process.again()
    with suppress(OSError):  # the terminal may be gone
        print("stopping", flush=True)
    for process in processes:
        process.end()
    for process in processes:
        process.wait()
