"""The arguments of a task's body: those of its message, with the result that it awaited in front."""

from __future__ import annotations

from typing import Any

from liteq.context import App, Request
from liteq.exceptions import LiteqError
from liteq.execution.plan import Plan
from liteq.execution.shown import lease_of
from liteq.message import LATER, Flag, Lease
from liteq.serialization import decode
from liteq.serialization.content import ENVELOPE, Owner
from liteq.serialization.failures import exception_from
from liteq.states import State
from liteq.storage.reading.inspect import Record

__all__ = ["arguments"]


def arguments(task: Any, lease: Lease) -> tuple[list[Any], dict[str, Any]]:
    """The args and kwargs of a leased message: its own, with the awaited result in front.

    An errback whose function takes more than one positional argument gets `(request, exc, traceback)` of the failure,
    any other its id; as in Celery.
    """
    plan: Plan = task.plan
    if lease.payload[:1] == ENVELOPE:
        args, kwargs = plan.content.read(lease.payload, Owner(lease.id, lease.task))
    else:
        args, kwargs = decode(lease.payload, plan.content)
    flags = lease.flags
    if flags & Flag.TAKES_INPUT:
        if flags & Flag.ON_FAILURE:
            args = _failure(task, lease, args, kwargs) + args
        elif lease.input is not None:
            found = lease.input if lease.input != LATER else task.app.storage.reader.input_of(lease.awaits)
            args = [decode(found, plan.result_content), *args]
    return args, kwargs


def _failure(task: Any, lease: Lease, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    if not task.takes_failure(args, kwargs):
        return [lease.awaits]
    exc, trace = (None, None) if lease.input is None else exception_from(lease.input)
    return [_failed(task.app, lease, lease.awaits or ""), exc, trace]


def _failed(app: App, lease: Lease, id_: str) -> Request:
    """The request of the message `id_`, which the errback `lease` is for: with its task and arguments, while kept."""
    record = app.storage.reader.find(id_)
    if record is None:
        return Request(id=id_, root_id=lease.root_id)
    args, kwargs = _arguments_of(app, record)
    failed = lease_of(record, seq=lease.seq, token=lease.token)
    request = Request.from_lease(failed, args, kwargs, record.worker)
    request.update(token=None, seq=None)  # nobody holds it any more
    return request


def _arguments_of(app: App, record: Record) -> tuple[Any, Any]:
    """Arguments that the failed task was called with; (None, None) where it failed because nobody can read them."""
    try:
        args, kwargs = app.content.read(record.payload, Owner(record.id, record.task))
        was_called = record.state is not State.UPSTREAM_FAILED and not record.flags & Flag.ON_FAILURE
        if was_called and record.flags & Flag.TAKES_INPUT and record.awaits is not None:
            args = [app.result_content.read(app.storage.reader.input_of(record.awaits)), *args]
    except LiteqError:
        return None, None
    return args, kwargs
