"""The arguments of a task's body: those of its message, with the result that it awaited in front."""

from __future__ import annotations

from typing import Any

from liteq.context import Request
from liteq.execution.plan import Plan
from liteq.message import LATER, Flag, Lease
from liteq.serialization import decode
from liteq.serialization.content import ENVELOPE, Owner
from liteq.serialization.failures import exception_from

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
    if lease.input is None:
        return [Request(id=lease.awaits), None, None]
    exc, trace = exception_from(lease.input)
    return [Request(id=lease.awaits, root_id=lease.root_id), exc, trace]
