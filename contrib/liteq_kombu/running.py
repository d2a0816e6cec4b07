"""The task that this process runs under a lease, as Celery's tracer sees it: its end, and what it sends of itself.

A retry and a replacement are messages under the id of the task that runs. They are no new rows: the row runs again, and
that is its outcome. Where the results are kept in the file too, the outcome waits for what the tracer says of it, the
error; else it is settled at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from liteq.exceptions import Ignore, ImproperlyConfigured, LiteqError, Reject
from liteq.message import Ack, Cancel, DeadLetter, Lease, Message, Outcome, RetryAt
from liteq.serialization import encode_error
from liteq.storage.engines import describe_url
from liteq_kombu.envelope import FACTS, lease_of

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = ["Run", "continues", "look_for_results", "note_end", "run_of", "say_once"]

logger = logging.getLogger("liteq.kombu")

RUN = "_liteq_run"  # on the request
said: set[str] = set()


def say_once(key: str, text: str, *args: Any) -> None:
    """Log `text` as a warning, once for each `key`."""
    if key not in said and len(said) < 1_000:
        said.add(key)
        logger.warning(text, *args)


class Run:
    """One execution of a task under its lease. `again`: the message under its own id that it has sent."""

    def __init__(self, file: File, lease: Lease) -> None:
        self.file = file
        self.lease = lease
        self.settled = False
        self.ending: str | None = None  # the state that the tracer is about to store as its end
        self.again: Message | None = None
        self.retries = 0  # of that message

    def settle(self, outcome: Outcome) -> None:
        """Write the outcome, and that it runs again where it has sent itself; nothing where the lease is over."""
        if self.settled:
            return
        if self.again is not None:
            outcome = self._again(self.again, getattr(outcome, "error", None))
        self.settled = True
        if self.file.storage.settle([(self.lease, outcome)]):
            logger.warning(
                "%s[%s] took longer than its lease: its outcome is dropped, another worker has it",
                self.lease.task, self.lease.id,
            )  # fmt: skip

    def _again(self, row: Message, error: bytes | None) -> Outcome:
        now_ms = self.file.storage.clock.now_ms()
        due_ms = now_ms if row.due_ms is None else row.due_ms
        return RetryAt(
            due_ms,
            error,
            payload=row.payload,
            options=row.options,
            queue=row.queue,
            priority=row.priority,
            expires_ms=row.expires_ms,
            delay_ms=max(due_ms - now_ms, 0),
            task=row.task,
            retries=self.retries,
        )

    def begin(self) -> None:
        """Note that it runs now, and at most once: it was acknowledged before it ran."""
        begun = self.file.storage.leases.begin([self.lease])
        if begun:
            self.lease = begun[0]
        else:
            say_once(
                self.lease.id, "%s[%s] begins after its lease: its outcome is dropped", self.lease.task, self.lease.id
            )
            self.settled = True

    def progress(self, data: bytes) -> None:
        """Show a state of its own."""
        if not self.settled:
            self.file.storage.progress(self.lease.id, data, lease=(self.lease.seq, self.lease.token))


def run_of(request: Any, file: File) -> Run | None:
    """The execution of which `request` is Celery's request; None where it is not under a lease of `file`."""
    found: Run | None = getattr(request, RUN, None)
    if found is not None:
        return found if found.file is file else None
    facts = (getattr(request, "properties", None) or {}).get(FACTS)
    if not facts or facts[0] != file.where:
        return None
    lease = lease_of(facts, request.id, getattr(request, "task", None) or "", request.root_id, request.parent_id)
    made = Run(file, lease)
    setattr(request, RUN, made)
    return made


def current(file: File) -> Run | None:
    """The execution that this thread is in, under a lease of `file`."""
    state = sys.modules.get("celery._state")
    task = state.get_current_task() if state is not None else None
    return run_of(task.request, file) if task is not None else None


def continues(file: File, row: Message, message: Mapping[str, Any]) -> bool:
    """Whether `row` is the task that runs here, once more: then it is no new row, and this has seen to it."""
    run = current(file)
    if run is None or run.lease.id != row.id or run.settled:
        return False
    run.again, run.retries = row, int((message.get("headers") or {}).get("retries") or 0)
    if not file.results:
        run.settle(Ack())
    return True


def note_end(run: Run, task: Any, state: str | None, value: Any) -> None:
    """Settle an execution of which the tracer has stored nothing.

    Its result is ignored, or it ended in a way that Celery stores nowhere. A task that rejects its message is settled
    by the consumer, but for one that was acknowledged before it ran: of that the consumer knows nothing more.
    """
    match state:
        case "SUCCESS":
            run.settle(Ack())
        case "REJECTED" if task.acks_late and run.again is None:
            return
        case "REJECTED":
            run.settle(DeadLetter(encode_error(Reject(getattr(value, "reason", None), requeue=False))))
        case "FAILURE" if isinstance(value, BaseException):
            run.settle(DeadLetter(encode_error(value)))
        case "IGNORED" | "RETRY":
            run.settle(Cancel(encode_error(Ignore(*getattr(value, "args", ())))))


def look_for_results(file: File) -> None:
    """Find out whether the app of this process keeps its results in `file`, before its first message is consumed."""
    state = sys.modules.get("celery._state")
    app = state._get_current_app() if state is not None and not file.results else None
    if app is None:
        return
    url = app.conf.result_backend
    if not isinstance(url, str) or not url.startswith("liteq:"):
        return
    try:
        if describe_url(url).where == file.where:
            app.backend  # noqa: B018 - it is made here, and says that it keeps them
    except (ImproperlyConfigured, LiteqError) as exc:
        say_once(url, "the result backend %s cannot be used: %s", url, exc)
