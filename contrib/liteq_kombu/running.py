"""The task that this process runs under a lease, as Celery's tracer sees it: its end, and what it sends of itself.

A retry and a replacement are messages under the id of the task that runs. They are no new rows: the row runs again, and
that is its outcome. Where the results are kept in the file too, the outcome waits for what the tracer says of it, the
error; else it is settled at once.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import orjson

from liteq.context.living import knowing
from liteq.context.unknown import left_to_others
from liteq.exceptions import Ignore, ImproperlyConfigured, LiteqError, NotRegistered, Reject
from liteq.message import Ack, Batch, Cancel, DeadLetter, Flag, Lease, Message, Outcome, Release, RetryAt
from liteq.serialization import decode, encode_error
from liteq.storage.engines import describe_url
from liteq.storage.groups.ended import Ended
from liteq_kombu.envelope import FACTS, OPAQUE, lease_of

if TYPE_CHECKING:
    from liteq_kombu.files import File

__all__ = [
    "Run",
    "continues",
    "ending",
    "ending_here",
    "left_to_another",
    "look_for_results",
    "note_end",
    "run_of",
    "say_once",
    "unknown_task",
]

logger = logging.getLogger("liteq.kombu")

RUN = "_liteq_run"  # on the request
TRACER: Final = "celery.app.trace"
CANVAS: Final = "celery.canvas"
DISPATCH: Final = "_dispatch_callbacks_and_chain"
OWN: Final = ("keyed", "log_keep")  # of the options of a row that liteq sent
said: set[str] = set()
scope = threading.local()  # `run`: the execution whose end this thread is storing


def say_once(key: str, text: str, *args: Any) -> None:
    """Log `text` as a warning, once for each `key`."""
    if key not in said and len(said) < 1_000:
        said.add(key)
        logger.warning(text, *args)


def _with_own(options: bytes | None, before: bytes | None) -> bytes | None:
    """`options`, of a message of Celery's, with what liteq alone has said of the row, which no such message tells."""
    doc = orjson.loads(before or b"{}")
    own = {name: doc[name] for name in OWN if name in doc}
    return orjson.dumps({**own, **orjson.loads(options or b"{}")}) if own else options


class Run:
    """One execution of a task under its lease.

    `again`: the message under its own id that it has sent. `following`: those that Celery's tracer sends because it has
    ended, the next link of its chain, callbacks and errbacks; `ended`: those that will not come, as it has failed. They
    are written with its end, or not at all. `closing`: the chords among them, whose members are all sent with it.
    `again_delivered`: it may have run before.
    """

    def __init__(self, file: File, lease: Lease) -> None:
        self.file = file
        self.lease = lease
        self.settled = False
        self.started = False  # its body: one that was revoked or had expired did not run
        self.ending: str | None = None  # the state that the tracer is about to store as its end
        self.outcome: Outcome | None = None  # as the tracer has stored it, until it is settled
        self.again: Message | None = None
        self.retries = 0  # of that message
        self.following: list[Message] = []
        self.closing: list[tuple[str, int | None]] = []
        self.again_delivered = False
        self.ended: list[Ended] = []
        self.telling: str | None = None  # the id of the task whose loss it tells, which has ended already
        self.over = False  # it was to begin after its lease
        self.lost = False  # it has begun before, in a process that has died
        self.began_ms = file.storage.clock.now_ms()
        self._began = file.storage.clock.monotonic()

    def settle(self, otherwise: Outcome) -> None:
        """Write the outcome that was stored, or `otherwise`, and what comes with it; a retry where it has sent itself.

        Nothing is written where the lease is over.
        """
        if self.settled:
            return
        outcome = otherwise if self.outcome is None else self.outcome
        if self.again is not None:
            outcome = self.retry_as(self.again, getattr(outcome, "error", None))
        storage, lease = self.file.storage, self.lease
        took = (self.began_ms, storage.clock.monotonic() - self._began)
        if isinstance(outcome, Ack):  # it alone bears when it ran
            outcome = Ack(outcome.result, took, outcome.children)
        ran = {} if isinstance(outcome, Cancel) and not self.started else {lease.token: took}
        following = self._make_room() if self.following else []
        also = Batch(following, closing=self.closing) if following or self.closing else None
        lost = self.file.patiently(lambda: storage.settle([(lease, outcome)], ran=ran, also=also, ended=self.ended))
        self.settled = True
        if lost:
            logger.warning(
                "%s[%s] took longer than its lease: its outcome is dropped, another worker has it",
                lease.task, lease.id,
            )  # fmt: skip
        else:
            self.file.counter.settled(lease, outcome, ran.get(lease.token))

    def _make_room(self) -> list[Message]:
        """Those that follow and are not in the file: what awaits this task as a row has been sent.

        What ended long ago under the id of one makes room: a canvas that is sent once more.
        """
        storage = self.file.storage
        there = storage.reader.have_ended([m.id for m in self.following])
        gone = [id_ for id_, ended in there.items() if ended]
        # While the lease holds, nothing that it has caused has ended: these are of an earlier sending.
        if gone and self.is_current:
            storage.forget(gone)
        return [m for m in self.following if there.get(m.id, True)]

    def retry_as(self, row: Message, error: bytes | None = None) -> RetryAt:
        """The outcome by which the row of this task is `row` from now on."""
        record = self.file.storage.reader.find(self.lease.id)  # the lease of a pool's process has no options
        now_ms = self.file.storage.clock.now_ms()
        due_ms = now_ms if row.due_ms is None else row.due_ms
        return RetryAt(
            due_ms,
            error,
            payload=row.payload,
            options=_with_own(row.options, None if record is None else record.options),
            queue=row.queue,
            priority=row.priority,
            expires_ms=row.expires_ms,
            delay_ms=max(due_ms - now_ms, 0),
            task=row.task,
            retries=self.retries,
        )

    def begin(self) -> None:
        """Note that it runs now, and at most once: it was acknowledged before it ran.

        The claim has noted that already where a process was free for it. Then a look is enough.
        """
        lease = self.lease
        if lease.flags & Flag.BEGUN:
            holds = self.is_current
        else:
            begun = self.file.storage.leases.begin([lease])
            self.lease, holds = (begun[0], True) if begun else (lease, False)
        if holds:
            self.lost = not self.file.begun.is_first(lease.token)
        else:
            say_once(self.lease.id, "%s[%s] does not run: its lease is over", self.lease.task, self.lease.id)
            self.settled = self.over = True

    @property
    def is_current(self) -> bool:
        """Whether its lease is not over; else another run has the message, or the file has given it up and tells."""
        return self.file.storage.leases.holds(self.lease.seq, self.lease.token)

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
    made.again_delivered = bool((getattr(request, "delivery_info", None) or {}).get("redelivered"))
    setattr(request, RUN, made)
    return made


@contextmanager
def ending(run: Run | None, state: str) -> Iterator[None]:
    """Have what is sent and stored in this block be a part of the end of `run`, which is `state`."""
    before = getattr(scope, "run", None)
    scope.run = run
    if run is not None:
        run.ending = state
    try:
        yield
    finally:
        scope.run = before


def ending_here(file: File) -> Run | None:
    """The execution whose end this thread is storing in `file`, and which is not settled."""
    run: Run | None = getattr(scope, "run", None)
    return run if run is not None and run.file is file and not run.settled else None


def current(file: File) -> Run | None:
    """The execution that this thread is in, under a lease of `file`."""
    state = sys.modules.get("celery._state")
    task = state.get_current_task() if state is not None else None
    return run_of(task.request, file) if task is not None else None


def continues(file: File, row: Message, message: Mapping[str, Any]) -> bool:
    """Whether `row` is a part of the end of the task that runs here; then this has seen to it.

    It is the same task once more, or what the tracer sends as the task has ended.
    """
    run = ending_here(file) or current(file)
    if run is None or run.settled:
        return False
    if run.lease.id == row.id:
        run.again, run.retries = row, int((message.get("headers") or {}).get("retries") or 0)
        if not file.results:
            run.settle(Ack())
        return True
    if file.results and (run is ending_here(file) or sent_by_tracer()):
        run.following.append(row)
        return True
    return False


def sent_by_tracer() -> bool:
    """Whether Celery's tracer sends, after the body of the task has returned, and not that body.

    Told by the call under the tracer's frame: Celery has no word for it. It is the sending of callbacks and chain, in
    Celery's versions before 5.7 the signature's own `apply_async`; a body's is another function.
    """
    frame: FrameType | None = sys._getframe(1)
    below = frame
    while frame is not None:
        if frame.f_code.co_name == "trace_task" and frame.f_globals.get("__name__") == TRACER:
            assert below is not None
            return below.f_code.co_name == DISPATCH or below.f_globals.get("__name__") == CANVAS
        below, frame = frame, frame.f_back
    return False


def note_end(run: Run, task: Any, state: str | None, value: Any) -> None:
    """Settle an execution of which the tracer has stored nothing.

    Its result is ignored, or it ended in a way that Celery stores nowhere. A task that rejects its message for good is
    settled by the consumer, but for one that was acknowledged before it ran: of that the consumer knows nothing more.
    """
    match state:
        case "SUCCESS":
            run.settle(Ack())
        case "REJECTED" if task.acks_late and run.again is None and getattr(value, "requeue", False):
            run.settle(Release(crashed=True, error=encode_error(Reject(value.reason, requeue=True))))
        case "REJECTED" if task.acks_late and run.again is None:
            return
        case "REJECTED":
            run.settle(DeadLetter(encode_error(Reject(getattr(value, "reason", None), requeue=False))))
        case "FAILURE" if isinstance(value, BaseException):
            run.settle(DeadLetter(encode_error(value)))
        case "IGNORED" | "RETRY":
            run.settle(Cancel(encode_error(Ignore(*getattr(value, "args", ())))))


def unknown_task(file: File, lease: Lease) -> NotRegistered | None:
    """The error of the message of `lease` where a consumer of Celery's refuses it as of a task that it does not have.

    Celery rejects it first, and says why afterwards. It does so while it handles the KeyError of the task's name.
    """
    missing = sys.exc_info()[1]
    name = task_in(file, lease) if isinstance(missing, KeyError) else None
    if name is None or missing is None or missing.args != (name,):
        return None
    return NotRegistered(name, file.app._tasks if file.app is not None else ())


def left_to_another(file: File, lease: Lease) -> Release | None:
    """The outcome of a message of a task that is unknown here; None where no other living worker would run it.

    A team moves its workers one by one: a task may be known to one of liteq's alone. That one has to have told its
    tasks: between two that only might know it, the message would never end. Celery tells the backend of a failure all
    the same, which `file.left` has it pass over.
    """
    others = [one for one in file.living() if isinstance(one.facts.get("tasks"), list)]
    other = knowing(others, lease.queue, lease.task, but=file.holder.name) if lease.task != OPAQUE else None
    if other is None:
        return None
    logger.warning("%s[%s] is not known here: it is left to worker %s, which knows it", lease.task, lease.id, other)
    if file.results:
        file.left.add(lease.id)
    return left_to_others(lease, file.storage.clock.now_ms())


def task_in(file: File, lease: Lease) -> str | None:
    """The task that the message of `lease` names, also where it was kept whole."""
    if lease.task != OPAQUE:
        return lease.task
    if not lease.payload:
        lease = file.storage.reader.with_payload(lease)
    headers = decode(lease.payload)[1]["message"]["headers"]
    name: str | None = headers.get("task")
    return name


def look_for_results(file: File) -> None:
    """Find out whether the app of this process keeps its results in `file`, as it connects and as it consumes.

    A worker looks its tasks up once, between the two: the backend brings some of them.
    """
    state = sys.modules.get("celery._state")
    # Not by Celery's own function, which makes an app where there is none: a program may only send.
    app = (state._tls.current_app or state.default_app) if state is not None else None
    if app is None or (file.results and file.app is app):
        return
    url = app.conf.result_backend
    if not isinstance(url, str) or not url.startswith("liteq:"):
        return
    try:
        if describe_url(url).where == file.where:
            app.backend  # noqa: B018 - it is made here, and says that it keeps them
    except (ImproperlyConfigured, LiteqError) as exc:
        say_once(url, "the result backend %s cannot be used: %s", url, exc)
