"""The step `liteq.command`: one job of a flow, as a message of its own. Only workers with --commands have it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from liteq.context import App, worker_request
from liteq.exceptions import LeaseLost, SoftTimeLimitExceeded, StorageError, WorkflowError
from liteq.execution.task_log import Bounds
from liteq.execution.telling import telling
from liteq.utils.durations import to_span_ms
from liteq.workflow import ctx
from liteq_flow.jobs.capture import INLINE, LARGEST, Capture, Masking
from liteq_flow.jobs.environment import RUNNING, Environment

__all__ = ["NAME", "QUEUES", "Job", "add_command", "artifacts_folder", "memo_name"]

NAME = "liteq.command"
MEMO = f"{NAME}?memo="  # and the ms
OF_THE_RUN = frozenset({"run_id", "context", "timeout_s", "doubt"})
QUEUES = "#commands"  # behind the name of a queue: its jobs, which only workers with --commands take
FOR_EVER_S = 10 * 365 * 86_400  # of a log, where runs never go
LINES, BYTES = 20_000, 2 << 20  # of the log of one job
CHUNK = 256 * 1024  # characters of an artifact that are one chunk of a stream
TAIL = 4 * 1024  # characters of stderr that a result bears
NOT_OF_THE_JOB = (LeaseLost, SoftTimeLimitExceeded, StorageError)  # by which its attempt ends, not the job

logger = logging.getLogger("liteq.flow")


class Job:
    """A job while it runs: its document, its environment, its log."""

    def __init__(self, document: dict[str, Any], app: App) -> None:
        self.document, self.app = document, app
        self.env = Environment()
        self.masking = Masking(())
        self._log: Callable[[logging.LogRecord], None] = lambda _record: None
        self.folder = Path(document.get("folder") or ".")
        self.artifacts = artifacts_folder(app, document["run_id"])

    def prepare(self) -> None:
        """Make the environment, and open the log. Raises OSError, LookupError, ValueError."""
        self._open_log()
        document, env = self.document, self.env
        env.values["DAG_RUN_STATUS"] = RUNNING  # unless the document says another
        env.add(document.get("context") or ())
        env.values["DAG_RUN_ARTIFACTS_DIR"] = env.values["LITEQ_ARTIFACTS_DIR"] = str(self.artifacts)
        env.add(document.get("env") or ())
        for name in document.get("dotenv") or ():
            from liteq_flow.jobs.environment import read_dotenv

            env.values |= read_dotenv(self.folder / env.expand(name))
        env.add(document.get("params") or ())
        env.reveal(document.get("secrets") or {})
        env.add(document.get("outputs") or ())
        env.add(document.get("own_env") or ())
        env.add(document.get("variables") or ())
        self.masking = Masking(env.secrets)
        for name in env.left_out:
            self.say(f"{name} is too long for an environment variable: it is not set", logging.WARNING)

    def _open_log(self) -> None:
        request = worker_request()
        found = telling(self.app, request)
        if found is None or request is None or request.seq is None:
            return
        found.keep_log(int((self.app.conf.workflow_expires or FOR_EVER_S) * 1000), Bounds(LINES, BYTES))
        if found.log is not None:
            self._log = found.log.add

    def log(self, record: logging.LogRecord) -> None:
        """Add a line to the log of the message."""
        self._log(record)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Add a line of this room's own."""
        self.log(logging.LogRecord("liteq.flow", level, "", 0, self.masking(text), None, None))

    def path(self, template: str) -> Path:
        """A path, from the working directory. `~` is the home of the worker's user."""
        return self.cwd / Path(self.env.expand(template)).expanduser()

    @property
    def cwd(self) -> Path:
        """The working directory: the flow's, over it the step's; else the folder of the file."""
        found = self.folder
        for one in self.document.get("dirs") or ():
            found = found / Path(self.env.expand(one)).expanduser()
        return found

    def capture(self, name: str) -> Capture:
        """One stream, into the log."""
        return Capture(name, self.masking, self.log, keep=LARGEST)

    def kept(self, stdout: Capture) -> dict[str, Any]:
        """The part of the result that `stdout` is: the text, or where it is an artifact."""
        if stdout.size <= INLINE:
            return {"stdout": stdout.text}
        text = stdout.text
        for start in range(0, len(text), CHUNK):
            ctx.emit(stdout.name, text[start : start + CHUNK])
        if stdout.size > LARGEST:
            self.say(f"{stdout.size:,} bytes of {stdout.name}: {LARGEST:,} of them are kept", logging.WARNING)
        return {"stdout": "", "artifact": {"id": ctx.run_id, "stream": stdout.name, "bytes": min(stdout.size, LARGEST)}}


def artifacts_folder(app: App, run_id: str) -> Path:
    """The folder of a run's files, beside the queue's file; else among the temporary ones. It is made."""
    import re
    import tempfile

    from liteq.storage import describe_url

    place = describe_url(app.broker_url)
    if place.kind == "file":
        base = Path(f"{place.where}-flows").absolute()
    else:
        base = Path(tempfile.gettempdir()) / f"liteq-flows-{os.getuid()}"
    found = base / re.sub(r"[^A-Za-z0-9._-]", "_", run_id).lstrip(".") / "artifacts"
    found.mkdir(parents=True, exist_ok=True)
    return found


def add_command(app: App) -> None:
    """Give `app` the step. A worker whose app has it runs what flows say."""

    def command(document: dict[str, Any]) -> dict[str, Any]:
        """One job: its result has `exit_code`, and `error` where it failed; nothing is raised for a failed command."""
        return run_job(document, app)

    if NAME not in app.steps_of_workflows:
        made = app.step(name=NAME)(command)  # type: ignore[attr-defined]
        app.__dict__["steps_of_workflows"] = Commands(app.steps_of_workflows, made)


class Commands(dict[str, Any]):
    """The steps of an app, and those of jobs with a memo: how long that is stands in the name of the step."""

    def __init__(self, steps: Mapping[str, Any], command: Any) -> None:
        super().__init__(steps)
        self._command = command

    def get(self, name: str, default: Any = None) -> Any:
        """The step of that name."""
        if not name.startswith(MEMO):
            return super().get(name, default)
        told = name.removeprefix(MEMO)
        memo = True if told == "always" else f"{told}ms"
        found = self._command.having({"memo": memo, "memo_key": memo_key})
        found.name, found.keeps = name, is_done
        return found


def memo_name(memo: Any) -> str:
    """The name of the step for jobs with this memo, a duration or True; without one it is the step's own."""
    if memo is None or memo is False:
        return NAME
    return f"{MEMO}{'always' if memo is True else to_span_ms(memo, 'the memo of a step')}"


def memo_key(document: dict[str, Any]) -> dict[str, Any]:
    """The part of a job by which it is the same as one of another run: all but the run's and the step's names."""
    return {name: one for name, one in document.items() if name not in OF_THE_RUN}


def is_done(result: Mapping[str, Any]) -> bool:
    """Whether a job has succeeded: a failure answers no other job, nor another attempt."""
    return bool(result.get("exit_code") == 0)


def _was_begun() -> bool:
    """Whether a process was lost over this message before."""
    request = worker_request()
    told = None if request is None else request.delivery_info
    return bool(told and told["redelivered"])


def run_job(document: dict[str, Any], app: App) -> dict[str, Any]:
    """Do a job: its result."""
    from liteq_flow.jobs.kinds import KINDS

    started = app.clock.now_ms()
    if document.get("doubt") == "ask" and _was_begun():
        return {"in_doubt": True, "exit_code": None, "stdout": "", "started": started, "finished": started}
    begun = time.monotonic()
    job = Job(document, app)
    try:
        job.prepare()
        result = KINDS[document["do"]](job)
    except NOT_OF_THE_JOB:
        raise
    except Exception as exc:  # noqa: BLE001 - the text of any may name a secret, which is masked here
        own = type(exc) in {ValueError, RuntimeError} or isinstance(exc, WorkflowError)
        text = job.masking(str(exc) if own else f"{type(exc).__name__}: {exc}")
        job.say(text, logging.ERROR)
        result = {"exit_code": None, "error": text}
    took_ms = int((time.monotonic() - begun) * 1000)
    return {"stdout": "", **result, "started": started, "finished": started + took_ms}
