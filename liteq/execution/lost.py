"""The failure of a task whose process is gone: the process that is left calls the hooks and sends the signals."""

from __future__ import annotations

import logging
from typing import Any

from liteq import signals, states
from liteq.context import App, Request, enter, leave
from liteq.exceptions import WorkerLostError, text_of
from liteq.execution.arguments import arguments
from liteq.execution.execute import call_hook, tell_failure
from liteq.execution.lines import about, about_end, name_of
from liteq.execution.plan import ExceptionInfo, Plan
from liteq.execution.shown import noun_of, with_arguments
from liteq.message import Lease

__all__ = ["tell_lost"]

logger = logging.getLogger("liteq.execution")


def tell_lost(app: App, lease: Lease, exc: BaseException, hostname: str | None = None) -> None:
    """Tell of a task that has failed by `exc`, which its own process did not live to do: on_failure, after_return.

    Raises nothing but what is no Exception. Arguments that cannot be read are taken as none.
    """
    # Of one whose process died, the line that says so has said that this is its end.
    extra = {} if isinstance(exc, WorkerLostError) else {**about(lease, "task.failed"), **about_end("failed", exc=exc)}
    logger.error("%s %s[%s] failed: %.1000s", noun_of(lease), name_of(lease), lease.id, text_of(exc), extra=extra)
    if (observer := app.integrations.observer()) is not None:
        observer.lost(lease, exc)
    task = app.tasks.find(lease.task)
    if task is None:
        return
    plan: Plan = task.plan.member
    if plan.on_failure is None and plan.after_return is None and not signals.task_failure.receivers:
        return
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    try:
        lease = with_arguments(app, lease)
        args, kwargs = arguments(task, lease)
    except Exception:
        logger.exception("the arguments of %s[%s] cannot be read", lease.task, lease.id)
    request = Request.from_lease(lease, args, kwargs, hostname)
    request._task = task
    einfo = ExceptionInfo(exc)
    token = enter(task, request)
    try:
        tell_failure(task, request, exc, einfo)
        if plan.after_return is not None:
            call_hook(plan.after_return, states.FAILURE, exc, request.id, args, kwargs, einfo)
    finally:
        leave(token)
