"""Tasks of a worker that a service manager or a container starts. Files in the working directory steer them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from hurry import hurry

from liteq import LiteQ, signals

hurry()
app = LiteQ("service_tasks", broker=os.environ["WORKER_TEST_BROKER"])
app.conf.beat_schedule = {"look": {"task": "service_tasks.environment", "schedule": 3600.0}}


@app.task
def environment() -> list[str]:
    """The names in the environment of a program that a task starts."""
    said = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
    return [line.partition("=")[0] for line in said.splitlines()]


@app.task
def until(name: str) -> str:
    """Runs until there is a file of that name."""
    Path("started").touch()
    while not Path(name).exists():
        time.sleep(0.01)
    return "done"


@app.task
def leave_behind() -> int:
    """Leaves a program behind, whose parent ends before it; its process id."""
    said = subprocess.run(
        ["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    return int(said.stdout)


@signals.task_received.connect
def stand_still(**_: Any) -> None:
    """Hold up the worker's loop for as long as there is a file `still`."""
    while Path("still").exists():
        Path("stands").touch()
        time.sleep(0.01)


if Path("slow-import").exists():
    Path("importing").touch()
    time.sleep(60)
