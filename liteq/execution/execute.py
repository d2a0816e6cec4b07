"""One execution of one task: run its body under its request, call its hooks, and make its outcome.

Workers of every pool and `Task.apply` come through `execute`. Nothing here touches the storage: the outcome is a
value, and its consequences happen in the transaction that settles it.

    before_start -> body -> Ack            on_success,  task_success
                         -> RetryAt        on_retry,    task_retry     Retry, autoretry_for
                         -> Limited        RateLimited, an error of HTTP with Retry-After (limited.py)
                         -> DeadLetter     on_failure,  task_failure   any other exception
                         -> Cancel         Ignore
                         -> Release        Reject(requeue=True); TaskInterrupted: it left at its cursor
                         -> Replace        Replaced
                 after_return, task_postrun

Hooks run before the outcome is written. One that raises is logged and changes nothing; `before_start` is the
exception: it runs as a part of the body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from inspect import iscoroutinefunction, unwrap
from types import TracebackType
from typing import Any

from liteq import signals, states
from liteq.clock import Clock, to_ms
from liteq.context import Request, current_request, enter, leave
from liteq.exceptions import Ignore, Reject, Replaced, Retry
from liteq.execution.enclosing import Whole, enclosed
from liteq.execution.hushed import quoted
from liteq.execution.limited import held_back
from liteq.execution.lines import LINES, about_end, tell_started, tell_succeeded
from liteq.execution.plan import ExceptionInfo, Executed, Plan, is_awaited
from liteq.message import Ack, Cancel, DeadLetter, Flag, Release, Replace, RetryAt
from liteq.policy.retry import decide, exhausted, is_retried, retry_options
from liteq.policy.times import span_ms
from liteq.result import ResultBase
from liteq.result.record import line_as_tuple
from liteq.serialization import encode, encode_error
from liteq.serialization.content import Owner
from liteq.utils.durations import Duration, numeric_s

__all__ = [
    "ExceptionInfo", "Executed", "call_hook", "execute", "retry_due_ms", "run_body", "tell_failure",
]  # fmt: skip

logger = logging.getLogger("liteq.execution")

UNRETURNED = frozenset({states.IGNORED, states.REJECTED, states.RETRY})  # `after_return` is not called for these


# -- the execution ---------------------------------------------------------------------------------------------------


def run_body(plan: Plan, args: Any, kwargs: Any) -> Any:
    """Call the task's own code. Time limits know a task by this frame (worker/pool/limits.py)."""
    value = plan.body(*args, **kwargs)
    return plan.run_coroutine(value) if plan.is_async and is_awaited(value) else value


def execute(
    task: Any,
    request: Request,
    args: Any,
    kwargs: Any,
    *,
    clock: Clock,
    keep: bool = True,
    within: AbstractContextManager[None] | None = None,
) -> Executed:
    """Run `task` once with `args` and `kwargs` under `request`; an exception of the task is an outcome, and not raised.

    `within` is entered around the body alone: a soft time limit. `keep=False` leaves the return value unencoded (an
    eager call has no reader in another process). Lets through KeyboardInterrupt and what else is no Exception;
    SystemExit fails the task and does not end its worker.
    """
    plan: Plan = task.plan
    if not plan.is_enclosed:
        return _execute(task, plan, request, args, kwargs, clock, keep, within)
    whole = Whole(
        task, request, args, kwargs,
        run=lambda: _execute(task, plan, request, args, kwargs, clock, keep, within),
        raised=lambda exc: _raised(task, plan.member, request, exc, clock),
        failed=lambda exc: _failed(task, plan.member, request, exc),
        returned=lambda value, runtime_s: _returned(task, plan, request, value, keep, runtime_s),
    )  # fmt: skip
    if plan.observer is None:
        return enclosed(plan, whole)
    request._task = task
    with plan.observer.executing(task, request) as ended:
        executed = enclosed(plan, whole)
        ended(executed.outcome, executed.exc)
        return executed


def _execute(
    task: Any,
    plan: Plan,
    request: Request,
    args: Any,
    kwargs: Any,
    clock: Clock,
    keep: bool,
    within: AbstractContextManager[None] | None,
) -> Executed:
    request._task = task
    token = enter(task, request)
    executed: Executed | None = None
    started = request._started = clock.monotonic()
    if LINES.starts or plan.log_keep is not None:
        _tell_start(task, plan, request)
    try:
        if signals.task_prerun.receivers:
            signals.task_prerun.send(sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs)
        try:
            if plan.before_start is not None:
                plan.before_start(request.id, args, kwargs)
            if within is not None:
                with within:
                    retval = run_body(plan, args, kwargs)
            else:
                retval = run_body(plan, args, kwargs)
            if request.pending_retry is not None or request._telling is not None:
                _body_ended(request)
        except Exception as exc:
            executed = _raised(task, plan, request, exc, clock)
        except BaseException as exc:
            executed = _torn(task, plan, request, exc)
        else:
            executed = _returned(task, plan, request, retval, keep, clock.monotonic() - started)
        if plan.after_return is not None and executed.state not in UNRETURNED:
            value = executed.retval if executed.exc is None else executed.exc
            call_hook(plan.after_return, executed.state, value, request.id, args, kwargs, executed.einfo)
        return executed
    finally:
        try:
            if signals.task_postrun.receivers or request._telling is not None:
                _ended(task, request, args, kwargs, executed)
        finally:
            leave(token)


def _body_ended(request: Request) -> None:
    """Do what a body has left to its end. Raises the exception of `retry(throw=False)`."""
    if request.pending_retry is not None:
        raise request.pending_retry
    request._telling.flush()


def _ended(task: Any, request: Request, args: Any, kwargs: Any, executed: Executed | None) -> None:
    if request._telling is not None:
        request._telling.close(done=executed is not None and type(executed.outcome) is Ack)
    if signals.task_postrun.receivers:
        state, value = (executed.state, executed.retval) if executed else (None, None)
        signals.task_postrun.send(
            sender=task, task_id=request.id, task=task, args=args, kwargs=kwargs, retval=value, state=state
        )


def begin_log(task: Any, request: Request) -> None:
    """Keep the log of this execution, if its call says so, or else its task."""
    from liteq.execution.telling import keep_log  # with threads and timers, where a log is kept

    keep_log(task, request)


def _tell_start(task: Any, plan: Plan, request: Request) -> None:
    if plan.log_keep is not None:
        begin_log(task, request)
    if LINES.starts:
        tell_started(request.shadow or task.name, request.id)


def _torn(task: Any, plan: Plan, request: Request, exc: BaseException) -> Executed:
    """The outcome of a body that was left by what is no `Exception`; raises it where it is not the task's own.

    It may have left at its cursor, as its worker stops: another one goes on there.
    """
    if request._telling is None or not request._telling.interrupted:
        if not _is_the_task_s(exc, plan):
            raise exc
        return _failed(task, plan, request, exc)
    extra = about_end("interrupted", _ran_s(task, request))
    logger.info("Task %s[%s] left at its cursor: its worker stops", task.name, request.id, extra=extra)
    return Executed(Release(), states.RETRY, None, exc)


def _is_the_task_s(exc: BaseException, plan: Plan) -> bool:
    """Whether an exception that is no `Exception` fails the task alone: `sys.exit()` in it, or its own cancellation."""
    if isinstance(exc, SystemExit):
        return not getattr(exc, "stops_worker", False)
    if not plan.is_async and not iscoroutinefunction(unwrap(plan.body)):  # the latter under a tracer
        return False
    from liteq.utils.coroutines import CancelledError

    return isinstance(exc, CancelledError)


def _returned(task: Any, plan: Plan, request: Request, retval: Any, keep: bool, runtime_s: float) -> Executed:
    if type(retval) is Executed:  # a batch: its members have ended
        return retval
    try:
        fields = request.__dict__
        if ("chain" in fields or "callbacks" in fields) and request._lease is not None:
            request.drop_followers()  # a task that empties these ends what follows it
        result = None
        if keep and _is_kept(plan, request):
            # A task that returns its result of a sending: as in Celery, the tree of ids, for `result_from_tuple`. Of a
            # long chain the last steps: the others are nested too deep to be stored.
            tree = isinstance(retval, ResultBase)
            result = _encoded(plan, line_as_tuple(retval, parents=plan.depth // 4) if tree else retval)
    except Exception as exc:  # it cannot be stored: a failure, and a retry would not help
        return _failed(task, plan, request, exc)
    if plan.on_success is not None:
        call_hook(plan.on_success, retval, request.id, request.args, request.kwargs)
    if signals.task_success.receivers:
        signals.task_success.send(sender=task, result=retval, runtime=runtime_s)
    if logger.isEnabledFor(logging.INFO) and LINES.may():
        tell_succeeded(request.shadow or task.name, request, retval, runtime_s)
    return Executed(Ack(result), states.SUCCESS, retval)


def _encoded(plan: Plan, retval: Any) -> bytes:
    if plan.form is None:
        return encode(retval, what=plan.what, limit=plan.result_limit, setting="max_result_bytes", max_depth=plan.depth)
    return plan.result_content.write(retval, *plan.form, what=plan.what)


def _is_kept(plan: Plan, request: Request) -> bool:
    """Whether the result may be read: by a caller, or by the next link of a chain even where no caller may."""
    lease = request._lease
    if lease is None:
        return not plan.ignore_result
    flags = lease.flags
    if flags & Flag.LINKED:
        return True
    if flags & Flag.IGNORE_RESULT:
        return False
    return not plan.ignore_result or request.options.get("ignore_result") is False


def _raised(task: Any, plan: Plan, request: Request, exc: Exception, clock: Clock) -> Executed:
    """The outcome for an exception of the body; a failure where it asks for what cannot be: a retry at no time."""
    try:
        return _outcome_of(task, plan, request, exc, clock)
    except Exception as impossible:  # with arguments that have no form, say
        return _failed(task, plan, request, impossible)


def _outcome_of(task: Any, plan: Plan, request: Request, exc: Exception, clock: Clock) -> Executed:
    if request._batch is not None:
        return _failed(task, plan, request, exc)
    match exc:
        case Retry():
            return _retried(task, plan, request, exc, clock)
        case Reject(requeue=requeue):
            error = encode_error(exc)
            return Executed(Release(error=error) if requeue else DeadLetter(error), states.REJECTED, None, exc)
        case Replaced(batch=Replace() as replacement):
            return Executed(replacement, states.IGNORED, None, exc)
        case Ignore():
            return Executed(Cancel(encode_error(exc)), states.IGNORED, None, exc)
    if (held := held_back(task, request, exc, clock)) is not None:
        return held
    if plan.policy is not None and plan.retry is not None and is_retried(exc, plan.policy):
        return _retried_by_its_class(task, plan, request, exc, clock)
    if plan.policy is not None and not exhausted(request.retries, request.max_retries):
        delay_s = decide(exc, retries=request.retries, policy=plan.policy)
        if delay_s is not None:
            return _retried(task, plan, request, Retry(exc=exc, when=delay_s), clock)
    return _failed(task, plan, request, exc)


def _retried_by_its_class(task: Any, plan: Plan, request: Request, exc: Exception, clock: Clock) -> Executed:
    """The outcome for an exception of `autoretry_for` where the class has a `retry` of its own: that decides."""
    assert plan.policy is not None
    assert plan.retry is not None
    options = retry_options(request.retries, policy=plan.policy)
    if request.max_retries is not None:
        options["max_retries"] = request.max_retries
    try:
        retry = plan.retry(exc=exc, **options)
    except Retry as raised:
        retry = raised
    except Exception as raised:
        return _failed(task, plan, request, raised)
    return (
        _retried(task, plan, request, retry, clock) if isinstance(retry, Retry) else _failed(task, plan, request, exc)
    )


def retry_due_ms(when: Duration | datetime | None, default_s: Duration | None, clock: Clock) -> tuple[int, int | None]:
    """The time to run again, in ms since the epoch: `when` in seconds from now or as a time, else after `default_s`.

    And the countdown that it is the end of, in ms; None for a time that was named. Raises ValueError for no possible
    time: the task that asked for it has failed then.
    """
    if isinstance(when, datetime):
        return to_ms(when), None
    what = "the countdown of a retry"
    delay_ms = span_ms(numeric_s(when if when is not None else (default_s or 0), what), what)
    return clock.now_ms() + delay_ms, delay_ms


def _retried(task: Any, plan: Plan, request: Request, retry: Retry, clock: Clock) -> Executed:
    reason = retry.exc or retry
    frames = _own_frames(reason)
    if retry.__context__ is None and reason is not retry:
        retry.__context__ = reason
    einfo = ExceptionInfo(retry, _own_frames(retry) or frames)  # as Celery's, whose text has the reason too
    due_ms, delay_ms = retry_due_ms(retry.when, task.default_retry_delay, clock)
    payload = None
    if retry.sig is not None:  # the task asked for other arguments
        payload = _other_arguments(task, request, [list(retry.sig.args), retry.sig.kwargs])
    if plan.on_retry is not None:
        call_hook(plan.on_retry, reason, request.id, request.args, request.kwargs, einfo)
    if signals.task_retry.receivers:
        signals.task_retry.send(sender=task, request=request, reason=retry, einfo=einfo)
    extra = about_end("retried", _ran_s(task, request), reason)
    logger.info("Task %s[%s] retry: %.1000s", request.shadow or task.name, request.id, retry, extra=extra)
    text = ExceptionInfo(reason, frames).traceback
    error = encode_error(reason, text, max_traceback_bytes=plan.error_limit, retry=retry)
    outcome = RetryAt(due_ms, error, payload, delay_ms=delay_ms, **retry.changes)
    return Executed(outcome, states.RETRY, retry, retry, einfo)


def _other_arguments(task: Any, request: Request, value: list[Any]) -> bytes:
    """The arguments of a retry, in the form that the message has."""
    what, content, lease = f"the arguments of task {task.name!r}", task.app.content, request._lease
    owner = Owner(request.id or "", task.name) if lease is None else Owner(lease.id, lease.task)
    written: bytes = (
        content.write(value, task.serializer, task.compression, what=what, owner=owner)
        if lease is None
        else content.write_like(lease.payload, value, what=what, owner=owner)
    )
    return written


def _failed(task: Any, plan: Plan, request: Request, exc: BaseException) -> Executed:
    einfo = ExceptionInfo(exc, _own_frames(exc))
    outcome = DeadLetter(encode_error(exc, einfo.traceback, max_traceback_bytes=plan.error_limit))
    if request._batch is not None:  # told of each of its messages (batch.py)
        return Executed(outcome, states.FAILURE, exc, exc, einfo)
    tell_failure(task, request, exc, einfo)
    named = (request.shadow or task.name, request.id, quoted(exc))
    about = about_end("failed", _ran_s(task, request), exc)
    if task.throws and isinstance(exc, tuple(task.throws) if not isinstance(task.throws, type) else task.throws):
        logger.info("Task %s[%s] raised expected: %.1000s", *named, extra=about)
    else:
        n = request.retries
        last = "" if not n else f" (given up after {n} {'retry' if n == 1 else 'retries'})"
        text = "Task %s[%s] raised unexpected: %.1000s%s"
        exc_info = None if request._is_told else einfo.exc_info
        logger.error(text, *named, last, exc_info=exc_info, extra={**about, "retries": n})
    return Executed(outcome, states.FAILURE, exc, exc, einfo)


def _ran_s(task: Any, request: Request) -> float | None:
    started = request._started
    return None if started is None else task.app.clock.monotonic() - started


def tell_failure(task: Any, request: Request, exc: BaseException, einfo: ExceptionInfo) -> None:
    """Call the hook `on_failure` and send the signal `task_failure`."""
    plan: Plan = task.plan.member
    args, kwargs = request.args, request.kwargs
    if plan.on_failure is not None:
        call_hook(plan.on_failure, exc, request.id, args, kwargs, einfo)
    if signals.task_failure.receivers:
        signals.task_failure.send(
            sender=task, task_id=request.id, exception=exc, args=args, kwargs=kwargs, traceback=einfo.tb, einfo=einfo
        )


def _own_frames(exc: BaseException) -> TracebackType | None:
    """The traceback of `exc` without the frames of this room at its top: a reader wants to see the task."""
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_globals.get("__package__") == __package__:
        tb = tb.tb_next
    return tb


def call_hook(hook: Callable[..., Any], *args: Any) -> None:
    """Call a hook after the fact: the outcome stands, even if the hook raises."""
    try:
        hook(*args)
    except Exception as exc:
        logger.exception("hook %s raised; the task's outcome is not changed by it", getattr(hook, "__qualname__", hook))
        request = current_request()
        if signals.task_internal_error.receivers and request is not None:
            einfo = ExceptionInfo(exc)
            signals.task_internal_error.send(
                sender=request._task, task_id=request.id, args=request.args, kwargs=request.kwargs, request=request,
                exception=exc, traceback=einfo.tb, einfo=einfo,
            )  # fmt: skip
