"""`--here`: a worker for the time of one command, and the wait for a run's end or rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

from liteq.context import App
from liteq.result.waiting import DoneBell
from liteq.states import State
from liteq_flow.errors import FlowRefused
from liteq_flow.model import Flow, Foreach, Step
from liteq_flow.report import find, flow_of, only_waits

__all__ = ["queues_of", "strangers", "until_rest", "worker"]

LOOK_S = 1.0
RING_S = 0.2
LOOKED_AT = 1_000  # messages that wait
STOP_S = 15.0
ENDED = frozenset({"succeeded", "failed", "cancelled"})


def queues_of(app: App, run_id: str) -> list[str]:
    """The queues in which a run and its steps are: those that the file names, beside its own."""
    record = find(app, run_id)
    found = {record.queue: None, app.conf.task_default_queue: None}
    try:
        snapshot, _ = flow_of(app, record)
        for text_file in () if snapshot is None else snapshot.texts:
            for flow in _flows(snapshot, text_file):
                if flow.queue:
                    found[flow.queue] = None
                for step in (*flow.steps, *flow.handlers.values()):
                    found |= dict.fromkeys(_queues(step))
    except (FlowRefused, LookupError):
        pass
    return list(found)


def _flows(snapshot: Any, file: str) -> Sequence[Flow]:
    from liteq_flow.snapshot import parsed

    flows: Sequence[Flow] = parsed(file, snapshot.texts[file]).flows
    return flows


def _queues(step: Step) -> Iterator[str]:
    if step.queue:
        yield step.queue
    if isinstance(step.do, Foreach):
        for inner in step.do.steps:
            yield from _queues(inner)
    if step.compensate is not None:
        yield from _queues(step.compensate)


def strangers(app: App, queues: Sequence[str]) -> str | None:
    """A task that waits in one of `queues`, and that this app does not know; None where there is none."""
    for record in app.storage.reader.messages(State.PENDING, limit=LOOKED_AT):
        if record.queue in queues and app.tasks.find(record.task) is None:
            return record.task
    return None


@contextmanager
def worker(session: Any, queues: Sequence[str], concurrency: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with --commands, in the process group of this command, until the end of the block."""
    options = ["-b", session.app.conf.broker_url] if session.broker or not session.has_app else []
    name = session.app_name or os.environ.get("LITEQ_APP")
    if isinstance(name, str):
        options = ["-A", name, *options]
    if session.config:
        options += ["--config", session.config]
    options += [
        "--commands", "-c", str(concurrency), "-Q", ",".join(queues), "-n", f"flow-{os.getpid()}@%h",
        "-l", "warning", "--without-tasks",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "liteq", "worker", *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(),
        )  # fmt: skip
        process._log = log  # type: ignore[attr-defined]
        with _ended_with_us(process), _terminable():
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(timeout=STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the worker also where this process is killed: a shell beside it reads until we are gone."""
    watch = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP INT TERM; read -r _; kill -TERM "$1" 2>/dev/null', "sh", str(process.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        watch.kill()
        watch.communicate()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends this command in order, as Ctrl-C does."""

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment() -> dict[str, str]:
    """This process's, from which the worker imports what this one does."""
    path = os.pathsep.join(dict.fromkeys(filter(None, [*sys.path, os.environ.get("PYTHONPATH")])))
    return {**os.environ, "PYTHONPATH": path}


def until_rest(app: App, run_id: str, process: subprocess.Popen[bytes] | None) -> None:
    """Wait until a run has ended, or nothing but a person or an event can have it go on.

    Raises ClickException where the worker that was brought has ended by itself: with what it said last.
    """
    calm = 0
    with DoneBell(app) as bell:
        while True:
            record = find(app, run_id)
            if record.status in ENDED:
                return
            calm = calm + 1 if only_waits(record) else 0
            if calm > 1:
                return
            if process is not None and process.poll() is not None:
                raise click.ClickException(f"the worker for it has ended: {_said(process._log)}")  # type: ignore[attr-defined]
            bell.wait(RING_S if calm else LOOK_S)


def _said(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it has said nothing"
