"""A batch: one call of a task's function for several messages, each of which ends by itself.

    execute -> run_batch -> the function, with a list of items
                         -> per message: Ack, RetryAt, DeadLetter, ... with its hooks and signals, under its request

To `execute`, and to all that surrounds an execution (tracers, observers, `task_prerun`, a time limit), it is one
execution: of the first message. A message that is executed alone is a batch of one, in a worker, by `apply()`, or in
a test.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from copy import copy
from typing import Any, assert_never

from liteq import states
from liteq.clock import Clock
from liteq.context import Request, current_request, enter, leave
from liteq.exceptions import MaxRetriesExceededError, Replaced, Retry
from liteq.execution.execute import (
    UNRETURNED,
    _failed,
    _is_the_task_s,
    _raised,
    _retried,
    _returned,
    call_hook,
    run_body,
)
from liteq.execution.plan import ExceptionInfo, Executed, Plan
from liteq.message import Ack, Outcome
from liteq.policy.retry import exhausted
from liteq.policy.times import span_ms
from liteq.utils.durations import Duration, numeric_s
from liteq.utils.records import NamedTuple

__all__ = ["BatchItem", "BatchPlan", "batch_request", "outcomes_of"]

logger = logging.getLogger("liteq.execution")

NO_ARGUMENTS: Mapping[str, Any] = {}


class _Returned(NamedTuple):
    value: Any = None


class _Raised(NamedTuple):
    exc: BaseException


class _Again(NamedTuple):
    countdown: float | None


Ending = _Returned | _Raised | _Again


class BatchItem:
    """One message of a batch: its `id`, its arguments, and how often it was retried.

    Settle it by one call of `ok`, `fail` or `retry`. An item that is not settled ends by what the function of the task
    returns or raises. Tests make items of their own: `BatchItem("1", kwargs={"row": 5})`.
    """

    __slots__ = ("_ending", "_over", "args", "id", "kwargs", "retries")

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - as in Celery's requests
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NO_ARGUMENTS,
        retries: int = 0,
    ) -> None:
        self.id = id
        self.args = list(args)
        self.kwargs = dict(kwargs)
        self.retries = retries
        self._ending: Ending | None = None
        self._over = False

    @property
    def settled(self) -> bool:
        """Whether `ok`, `fail` or `retry` was called."""
        return self._ending is not None

    def ok(self, result: Any = None) -> None:
        """End the item as succeeded, with this result. Raises RuntimeError where it is settled already."""
        self._settle(_Returned(result))

    def fail(self, exc: BaseException | type[BaseException]) -> None:
        """End this item alone with `exc`: it is retried where `autoretry_for` names the exception, else it has failed.

        Raises RuntimeError where it is settled already, and TypeError for what is no exception.
        """
        exc = exc() if isinstance(exc, type) else exc
        if not isinstance(exc, BaseException):
            raise TypeError(f"fail() takes an exception, not {exc!r:.80}")
        self._settle(_Raised(exc))

    def retry(self, countdown: Duration | None = None) -> None:
        """Run the item again after `countdown`, by default `default_retry_delay`; at most `max_retries` times.

        Raises RuntimeError where it is settled already, and ValueError for an impossible time.
        """
        if countdown is not None:
            countdown = numeric_s(countdown, what := "the countdown of a retry")
            span_ms(countdown, what)
        self._settle(_Again(countdown))

    def _settle(self, ending: Ending) -> None:
        if self._over:
            raise RuntimeError(f"the batch of item {self.id} is over: settle each before the function returns")
        if self._ending is not None:
            raise RuntimeError(f"item {self.id} is settled already: call ok(), fail() or retry() once")
        self._ending = ending

    def __repr__(self) -> str:
        return f"<BatchItem {self.id}{'' if self._ending is None else ', settled'}>"


def batch_request(members: Sequence[Request], hostname: str | None) -> Request:
    """The request of one execution for all of `members`: that of the first, with the list of items as its argument.

    `retries` is the least of theirs: `self.retry()` gives up where each of them would.
    """
    first = members[0]
    assert first._lease is not None, "batches are executed by workers"
    items = [_item_of(one) for one in members]
    request = Request.from_lease(first._lease, [items], {}, hostname)
    request.retries = min(one.retries for one in members)
    request._batch = list(members)
    return request


def _item_of(request: Request) -> BatchItem:
    return BatchItem(request.id, request.args or (), request.kwargs or NO_ARGUMENTS, request.retries)


class BatchPlan(Plan):
    """The plan of a task with `batch`: its body is a batch, whose members have the task's own hooks and policy."""

    __slots__ = ("_member", "_task")

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self._task = task
        self._member: Plan = copy(self)
        self.body = self._run
        self.is_async = False
        self.before_start = self.after_return = self.on_success = self.on_failure = self.on_retry = None
        self.policy = self.retry = None

    @property
    def member(self) -> Plan:
        """The task's own body, hooks and policy, for each member."""
        return self._member

    def _run(self, *_args: Any, **_kwargs: Any) -> Executed:
        request = current_request()
        assert request is not None, "its body runs under a request"
        return run_batch(self._task, self._member, request)

    def coroutine(self, _args: Any, _kwargs: Any) -> Coroutine[Any, Any, Executed]:
        """The batch, as what is to be awaited."""
        request = current_request()
        assert request is not None, "its body runs under a request"
        return arun_batch(self._task, self._member, request)


def run_batch(task: Any, plan: Plan, request: Request) -> Executed:
    """Call the function of `task` once for the members of `request`, which is of one message where it has none.

    The outcomes of members stand in `request._outcomes`. What ends the process, or the worker, is raised: then those
    of the members that were settled before, and None for each other.
    """
    batch = _Batch(task, plan, request)
    try:
        value = run_body(plan, (batch.begin(),), {})
        if request.pending_retry is not None:
            raise request.pending_retry
    except Exception as exc:  # noqa: BLE001 - each of its messages ends by it
        return batch.end(None, exc)
    except BaseException as exc:
        if _is_the_task_s(exc, plan):
            return batch.end(None, exc)
        batch.leave_unsettled()
        raise
    return batch.end(value, None)


async def arun_batch(task: Any, plan: Plan, request: Request) -> Executed:
    """As `run_batch`, of a function that is awaited on a loop that others share."""
    batch = _Batch(task, plan, request)
    try:
        value = await plan.body(batch.begin())
        if request.pending_retry is not None:
            raise request.pending_retry
    except Exception as exc:  # noqa: BLE001 - as in run_batch
        return batch.end(None, exc)
    except BaseException as exc:
        if not request._stopped and _is_the_task_s(exc, plan):
            return batch.end(None, exc)
        batch.leave_unsettled()
        raise
    return batch.end(value, None)


class _Batch:
    """The members of one execution, from its begin to the end of each of them."""

    def __init__(self, task: Any, plan: Plan, request: Request) -> None:
        self._task, self._plan, self._request = task, plan, request
        self._clock: Clock = task.app.clock
        alone = request._batch is None
        self._members: list[Request] = request._batch or [request]
        self._items: list[BatchItem] = [_item_of(request)] if alone else request.args[0]
        self._given: list[BatchItem] = []
        self._began = self._clock.monotonic()
        self._ran_s = 0.0
        self._told: set[int] = set()  # exceptions whose traceback is in the log

    def begin(self) -> list[BatchItem]:
        """The items for the function: those that their hook `before_start` lets through."""
        hook = self._plan.before_start
        for member, item in zip(self._members, self._items, strict=True):
            member._task, member._started = self._task, self._began
            if hook is None:
                continue
            token = enter(self._task, member)
            try:
                hook(member.id, member.args, member.kwargs)
            except Exception as exc:  # noqa: BLE001 - a part of the body: that is how its message ends
                item.fail(exc)
            finally:
                leave(token)
        self._given = [item for item in self._items if not item.settled]
        self._began = self._clock.monotonic()
        return list(self._given)

    def end(self, value: Any, exc: BaseException | None) -> Executed:
        """The end of the execution, with that of each member noted in the request."""
        request, self._request.pending_retry = self._request, None
        self._ran_s = self._clock.monotonic() - self._began
        done = [self._end_of(i, ending) for i, ending in enumerate(self._endings(value, exc))]
        if request._batch is None:
            return done[0]
        request._outcomes, request._exc = [one.outcome for one in done], exc
        self._tell(done)
        if exc is None:
            return Executed(Ack(None), states.SUCCESS, value)
        for one in done:
            if one.exc is exc:
                return one
        einfo = ExceptionInfo(exc)
        logger.error(
            "Task %s[%s] raised when each item was settled: %.1000s", self._task.name, request.id, exc,
            exc_info=einfo.exc_info,
        )  # fmt: skip
        return Executed(Ack(None), states.FAILURE, exc, exc, einfo)

    def end_anew(self, exc: BaseException, before: Sequence[Outcome | None]) -> None:
        """End each by `exc`, but for those that have ended otherwise than well `before`."""
        kept = {i: one for i, one in enumerate(before) if one is not None and type(one) is not Ack}
        found = [kept.get(i) or self._end_of(i, _Raised(exc)).outcome for i in range(len(self._members))]
        self._request._outcomes = list(found)

    def leave_unsettled(self) -> None:
        """Note the outcomes of those that are settled, when nothing is known of the others."""
        for item in self._items:
            item._over = True
        found = [None if item._ending is None else self._end_of(i, item._ending) for i, item in enumerate(self._items)]
        self._request._outcomes = [None if one is None else one.outcome for one in found]

    def _endings(self, value: Any, exc: BaseException | None) -> list[Ending]:
        """How each ends: as it was settled, else as the function has ended."""
        for item in self._items:
            item._over = True
        otherwise: dict[int, Ending] = {}
        if exc is not None:
            otherwise = dict.fromkeys(map(id, self._items), _Raised(exc))
        elif isinstance(value, (list, tuple)):
            otherwise = self._by_place(value)
        return [item._ending or otherwise.get(id(item)) or _Returned() for item in self._items]

    def _by_place(self, values: Sequence[Any]) -> dict[int, Ending]:
        """The endings that a returned list has for the items that were given; an exception in it is raised by its own.

        One of another length fails all that are not settled: nobody knows which element belongs to which.
        """
        if len(values) != len(self._given):
            n, m = len(values), len(self._given)
            text = f"the task returned a list of {n} for a batch of {m}: return one element for each item, or no list"
            return dict.fromkeys(map(id, self._given), _Raised(ValueError(text)))
        return {
            id(item): _Raised(one) if isinstance(one, Exception) else _Returned(one)
            for item, one in zip(self._given, values, strict=True)
        }

    def _end_of(self, i: int, ending: Ending) -> Executed:
        member = self._members[i]
        token = enter(self._task, member)
        try:
            try:
                executed = self._executed(member, ending)
            except Exception as exc:  # noqa: BLE001 - no outcome can be made of its ending (a retry at no possible time)
                executed = _failed(self._task, self._plan, member, exc)
            if self._plan.after_return is not None and executed.state not in UNRETURNED:
                told = executed.retval if executed.exc is None else executed.exc
                call_hook(
                    self._plan.after_return, executed.state, told, member.id, member.args, member.kwargs,
                    executed.einfo,
                )  # fmt: skip
            return executed
        finally:
            leave(token)

    def _executed(self, member: Request, ending: Ending) -> Executed:
        match ending:
            case _Returned(value):
                return _returned(self._task, self._plan, member, value, not member.is_eager, self._ran_s)
            case _Again(countdown):
                return self._again(member, countdown)
            case _Raised(exc):
                return self._raised(member, exc)
            case _:
                assert_never(ending)

    def _again(self, member: Request, countdown: float | None) -> Executed:
        """The end of one that is to run again, as its task's `retry()` decides."""
        try:
            retry = self._task.retry(countdown=countdown, throw=False)
        except Retry as raised:  # of a class whose own `retry` raises it
            retry = raised
        except Exception as exc:  # noqa: BLE001 - too many, as a rule: its message ends by it
            return _failed(self._task, self._plan, member, exc)
        member.pending_retry = None
        return _retried(self._task, self._plan, member, retry, self._clock)

    def _raised(self, member: Request, exc: BaseException) -> Executed:
        """The end of one by an exception: the one of all, or its own. Its traceback is logged once."""
        member._is_told = id(exc) in self._told
        self._told.add(id(exc))
        if isinstance(exc, Retry):
            return self._retried(member, exc)
        if isinstance(exc, Replaced):
            exc = TypeError("replace() puts one message in the place of one: a task with batch= cannot be replaced")
        if not isinstance(exc, Exception):
            return _failed(self._task, self._plan, member, exc)
        return _raised(self._task, self._plan, member, exc, self._clock)

    def _retried(self, member: Request, retry: Retry) -> Executed:
        """The end of one where the function has raised `self.retry()`, for all: each has retries of its own."""
        most = self._task.max_retries if self._request.max_retries is None else self._request.max_retries
        if retry.sig is not None:
            wrong = TypeError("retry(args=..., kwargs=...) is for one message: a batch is retried with what it has")
            return _failed(self._task, self._plan, member, wrong)
        if exhausted(member.retries, most):
            over = retry.exc or MaxRetriesExceededError(f"Can't retry {self._task.name}[{member.id}]")
            return _failed(self._task, self._plan, member, over)
        return _retried(self._task, self._plan, member, retry, self._clock)

    def _tell(self, done: Sequence[Executed]) -> None:
        """Log how the batch ended: each of its messages has a line of its own."""
        if not logger.isEnabledFor(logging.INFO):
            return
        ends = Counter(one.state for one in done)
        text = "Batch of %d %s[%s] ended in %.6fs: %s"
        shown = ", ".join(f"{n} {state}" for state, n in ends.items())
        logger.info(text, len(done), self._task.name, self._request.id, self._ran_s, shown)


def outcomes_of(task: Any, request: Request, executed: Executed) -> list[Outcome]:
    """The outcome of each member of a batch that was executed, in their order.

    Where what surrounds it raised, before it or after, that is the end of each which has not failed by itself.
    """
    before, exc = request._outcomes, executed.exc
    if before is None:
        exc = exc or RuntimeError(f"the batch of {task.name!r} was not executed")
    elif exc is None or exc is request._exc:
        return [one for one in before if one is not None]
    _Batch(task, task.plan.member, request).end_anew(exc, before or [])
    assert request._outcomes is not None, "each has ended"
    return [one for one in request._outcomes if one is not None]
