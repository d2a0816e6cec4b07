"""Running a task here and now, in the caller's process: `Task.apply` and `task_always_eager`."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liteq import states
from liteq.canvas import _chain, as_list, group, is_void, maybe_signature
from liteq.context import App, Request, current_request, workflow_here
from liteq.execution.execute import Executed, execute
from liteq.execution.limited import EAGER_TRIES
from liteq.execution.tracing import is_stale
from liteq.message import Limited, RetryAt, new_id
from liteq.result import EagerResult
from liteq.serialization.content import Owner

__all__ = ["eager_fields", "run_eagerly"]

OPTIONS = ("root_id", "parent_id", "shadow", "reply_to", "origin", "replaced_task_nesting")


def eager_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request of a call that is run here: its stamps, its group, its destination."""
    fields = {key: options[key] for key in OPTIONS if options.get(key)}
    if names := as_list(options.get("stamped_headers")):  # each stamp is a list here, as in Celery's eager requests
        fields |= {"stamped_headers": names, "stamps": {name: as_list(options.get(name)) for name in names}}
    if group_id := options.get("group_id"):
        fields["group"] = group_id
    where = {key: options.get(key) for key in ("exchange", "routing_key", "queue", "priority")}
    return {**fields, "delivery_info": {"is_eager": True, **where}}


def run_eagerly(
    task: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    task_id: str | None = None,
    retries: int = 0,
    throw: bool = False,
    link: Iterable[Any] = (),
    link_error: Iterable[Any] = (),
    **fields: Any,
) -> EagerResult[Any]:
    """Execute `task` with the code that a worker uses, retries included (without their delays).

    Where it meets a limit outside, it is tried at once, EAGER_TRIES times in all; then that is its failure.
    `throw`: raise the task's exception instead of keeping it for `get()`. `link` and `link_error` run after it, here
    too. `fields` are attributes of the request.
    """
    if (workflow := workflow_here()) is not None:
        workflow.refuse_call(task)
    id_ = task_id or new_id()
    if is_stale(task.plan.tracer):
        task.forget_plan()
    outer = current_request()
    fields.setdefault("root_id", (outer.root_id or outer.id if outer is not None else None) or id_)
    fields.setdefault("parent_id", outer.id if outer is not None else None)
    held = 0
    while True:
        request = Request(
            fields, id=id_, task=task.name, args=list(args), kwargs=dict(kwargs), retries=retries, is_eager=True,
            called_directly=False, hostname=socket.gethostname(),
        )  # fmt: skip
        executed = execute(task, request, request.args, request.kwargs, clock=task.app.clock, keep=False)
        if isinstance(executed.outcome, Limited) and (held := held + 1) < EAGER_TRIES:
            continue
        if not isinstance(executed.outcome, RetryAt):
            break
        retries += 1
        if executed.outcome.payload is not None:
            args, kwargs = task.app.content.read(executed.outcome.payload, Owner(id_, task.name))
    if isinstance(executed.outcome, Limited):
        executed = executed._replace(state=states.FAILURE)
    _store(task, request, executed)
    return _finish(task, id_, request, executed, throw, link, link_error)


def _finish(
    task: Any,
    id_: str,
    request: Request,
    executed: Executed,
    throw: bool,
    link: Iterable[Any],
    link_error: Iterable[Any],
) -> EagerResult[Any]:
    exc, einfo = executed.exc, executed.einfo
    failed = executed.state == states.FAILURE
    if throw and exc is not None and executed.state in (states.FAILURE, states.REJECTED):
        raise exc
    value = exc if exc is not None else executed.retval
    traceback = einfo.traceback if einfo else None
    for errback in link_error if failed else ():
        _apply_errback(task.app, maybe_signature(errback, app=task.app), request, exc, traceback)
    for callback in link if executed.state == states.SUCCESS else ():
        task.app.sender.apply_signature(callback, (executed.retval,))
    result: EagerResult[Any] = EagerResult(id_, value, executed.state, traceback=traceback, name=task.name)
    result._telling = request._telling
    return result


def _apply_errback(app: App, errback: Any, request: Request, exc: BaseException | None, traceback: str | None) -> None:
    """Run an errback with what a worker gives its first task: the failed id, or `(request, exc, traceback)`."""
    if is_void(errback):
        return
    if isinstance(errback, group):
        for member in errback.tasks:
            _apply_errback(app, member, request, exc, traceback)
        return
    first = errback
    while isinstance(first, _chain):
        first = first.tasks[0]
    known = app.tasks.find(first["task"])
    takes_failure = known is not None and known.takes_failure(first.args, first.kwargs)
    app.sender.apply_signature(errback, (request, exc, traceback) if takes_failure else (request.id,))


def _store(task: Any, request: Request, executed: Executed) -> None:
    """With `task_store_eager_result`: store its return value or exception, so that `AsyncResult(id)` finds it."""
    wanted = not request.ignore_result or (executed.state == states.FAILURE and task.store_errors_even_if_ignored)
    if not task.store_eager_result or not wanted:
        return
    exc, einfo = executed.exc, executed.einfo
    value = exc if exc is not None else executed.retval
    traceback = einfo.traceback if einfo else None
    task.app.backend.store_result(request.id, value, executed.state, traceback, request=request)
