"""Where there is no fork, no flock and no inotify: sending, and the pools that need none of them.

The platform is taken away from a fresh interpreter, as far as that can be done: it stands in for Windows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, ctypes, logging, os, selectors, signal, socket, subprocess, sys, tempfile, threading, uuid

for module in ("fcntl", "termios", "resource", "pwd", "grp"):
    sys.modules[module] = None
for name in ("fork", "register_at_fork", "getuid", "geteuid", "getgid", "pidfd_open", "waitid", "setsid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGQUIT", "SIGURG", "SIGUSR1", "SIGTTIN", "SIGTTOU", "SIGCHLD", "setitimer"):
    delattr(signal, name)
sys.platform = "win32"

from liteq import LiteQ
from liteq.exceptions import ImproperlyConfigured
from liteq.worker import Worker

app = LiteQ("there", broker="sqlite:///tasks.db")


@app.task
def double(x):
    return 2 * x


result = double.delay(21)
pool = sys.argv[1]
try:
    worker = Worker(app, pool=pool, concurrency=2)
    thread = threading.Thread(target=worker.run)
    thread.start()
    print(result.get(timeout=60))
    worker.stop()
    thread.join(60)
    print(thread.is_alive())
except ImproperlyConfigured as error:
    print(error)
"""


def run(pool: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, pool], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_threads(tmp_path: Path) -> None:
    assert run("threads", tmp_path) == ["42", "False"]


def test_solo(tmp_path: Path) -> None:
    assert run("solo", tmp_path) == ["42", "False"]
