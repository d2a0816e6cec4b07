"""A failure told by a row, which wakes with it in the same transaction, whoever writes that; `liteq.errback` runs it.

Celery's worker tells of a failure when it sees it. One that has died sees nothing, and the body of a chord whose header
failed ran nowhere. And one that calls an errback before it has written the failure may die between the two: the errback
would be called again. So there are rows behind these:

- a task that fails gets one for each errback that takes `(request, exc, traceback)`, with its end;
- a message that the file gives up gets one with that (liteq.storage.settling.telling): it tells as Celery's tracer
  would have done, errbacks and the rest of the chain;
- what awaits a chord's header has one for each errback from the start, which vanishes when the header succeeds. It is a
  call of that errback, which liteq's workers run too. A worker of Celery's runs it by this task where its function
  takes `(request, exc, traceback)` (`taking.as_called`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

from celery import Celery, states
from celery.app.task import Context
from celery.backends.base import Backend
from celery.exceptions import WorkerLostError
from kombu.message import Message as KombuMessage
from kombu.serialization import prepare_accept_content

from liteq.exceptions import LeaseLost, Reject
from liteq.message import Flag, Lease, Message
from liteq.serialization import decode_error, encode
from liteq.states import State
from liteq.storage.reading.inspect import Record
from liteq.storage.settling.telling import ERRBACK
from liteq.utils.ids import ids_of
from liteq_kombu.documents import described_error
from liteq_kombu.envelope import payload_of
from liteq_kombu.running import RUN, Run, ending, run_of
from liteq_kombu.taking import takes_failure

__all__ = ["add_tell", "called_by_rows", "left_to_row", "tell", "watch", "with_bodies"]

WATCHED: Final = "_liteq_watched"  # on the loader


@contextmanager
def left_to_row(run: Run | None, request: Any) -> Iterator[None]:
    """Have Celery tell nobody of the failure of `run` in this block, where a row does, or another run has its lease."""
    embedded = (request.chain, request.errbacks) if run is not None else (None, None)
    if run is None or not any(embedded) or (not run.over and run.is_current):
        yield
        return
    request.chain = request.errbacks = None
    try:
        yield
    finally:
        request.chain, request.errbacks = embedded


def called_by_rows(run: Run, request: Any, app: Celery) -> Sequence[Any]:
    """Have rows that are written with the end of `run` call the errbacks of `request` that take its error.

    Returns the signatures of the others. Celery calls the first kind at once, in the process that fails. Raises
    ValueError or TypeError, and adds nothing, where the arguments of one are no JSON.
    """
    others, rows = [], []
    for place, one in enumerate(request.errbacks):
        sig = app.signature(one)
        if sig.subtask_type or not takes_failure(app, sig.task, sig.args, sig.kwargs):
            others.append(sig)
            continue
        call = [[request.id, sig.task, list(sig.args), dict(sig.kwargs)], {}]
        lease, (id_,) = run.lease, ids_of(f"call of errback {request.id}", place, 1)
        row = Message(
            id=id_, task=ERRBACK, queue=lease.queue, priority=lease.priority,
            payload=encode(call, what=f"the arguments of the errback {sig.task}", limit=None), flags=Flag.IGNORE_RESULT,
            root_id=lease.root_id or lease.id, parent_id=request.id,
        )  # fmt: skip
        rows.append(row)
    run.following += rows
    return others


@contextmanager
def with_bodies(request: Any) -> Iterator[None]:
    """Have Celery tell the tasks of groups in the rest of a chain, too; before 5.7 also the bodies of chords.

    It tells what has an id, which a group has not. What awaits those tasks would wait for ever, as on Redis.
    """
    rest = getattr(request, "chain", None)
    if not rest:
        yield
        return
    links, more = list(rest), []
    todo = deque((link, True) for link in links)
    while todo:
        link, is_told = todo.popleft()
        if not is_told:
            more.append(link)
        kwargs = link.get("kwargs") or {}
        match link.get("subtask_type"):
            case "group" | "chain":
                todo += [(one, False) for one in kwargs.get("tasks") or ()]
            case "chord" if (body := kwargs.get("body")) is not None:
                todo.append((body, hasattr(Backend, "_fail_chain")))
    request.chain = links + more
    try:
        yield
    finally:
        request.chain = rest


def add_tell(app: Celery) -> None:
    """Give `app` the task by which a row tells.

    It is no `shared_task`: Celery's fixtures for tests forget those that come while a test runs, and no later app has
    them.
    """
    app.task(name=ERRBACK, bind=True, ignore_result=True, acks_late=True, reject_on_worker_lost=True, shared=False)(
        tell
    )


def tell(self: Any, id_: str, errback: str = "", args: Any = (), kwargs: Any = None) -> Any:
    """Tell of the failure of the task `id_`: all that its message names, or the task `errback` alone, with its result.

    What this sends is written with its own end: nobody is told twice by a message.
    """
    backend = self.backend
    record: Record | None = backend.storage.reader.find(id_)
    if errback:
        meta = backend.meta_of(record)
        request = Context(id=id_) if record is None else context_of(record, self.app, backend.file.where)
        return self.app.tasks[errback](request, meta["result"], meta.get("traceback"), *args, **(kwargs or {}))
    run = run_of(self.request, backend.file)
    if run is None or record is None or record.state is not State.DEAD or record.error is None:
        return None
    if decode_error(record.error).type == Reject.__name__:  # Celery tells nobody of a message that was refused
        return None
    described, traceback = described_error(record.error)
    run.telling = id_
    request = context_of(record, self.app, backend.file.where)
    with ending(run, states.FAILURE), with_bodies(request):
        Backend.mark_as_failure(
            backend, id_, backend.exception_to_python(described), traceback=traceback, request=request
        )
    return None


def context_of(record: Record, app: Celery, where: str) -> Context:
    """Celery's request of a task that has ended, as its worker would have it."""
    lease = Lease(
        0, 0, record.id, record.task, record.payload, record.options, record.queue, record.priority, record.due_ms,
        record.expires_ms, record.retries, record.crashes, record.flags, record.root_id, record.parent_id,
        record.group_id, record.awaits,
    )  # fmt: skip
    message = payload_of(lease, where, lower_first=False, beside=False, args=None)
    properties, headers = message["properties"], message["headers"]
    args, kwargs, embed = KombuMessage(
        body=message["body"], content_type=message["content-type"], content_encoding=message["content-encoding"],
        headers=headers, accept=prepare_accept_content(app.conf.accept_content),
    ).payload  # fmt: skip
    told = {name: properties.get(name) for name in ("delivery_info", "reply_to", "correlation_id")}
    return Context({**headers, **told, **(embed or {}), "args": args, "kwargs": kwargs})


def watch(loader: Any) -> None:
    """Have no body run whose task was to begin after its lease, or once more under it.

    Celery asks its loader before each. An error of a signal's receiver would be logged, and the body run.
    """
    if getattr(loader, WATCHED, False):
        return
    before = loader.on_task_init

    @wraps(before)
    def on_task_init(task_id: str, task: Any) -> None:
        run: Run | None = getattr(task.request, RUN, None)
        if run is not None and run.over:
            raise LeaseLost(task_id)
        if run is not None and run.lost:
            raise WorkerLostError("its process died as it began")
        before(task_id, task)

    loader.on_task_init = on_task_init
    setattr(loader, WATCHED, True)
