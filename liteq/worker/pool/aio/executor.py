"""One lease to one outcome on an event loop: as `Executor`, but while the task awaits the loop runs others."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

from liteq.context import App, Request, current_request
from liteq.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerShutdown, WorkerTerminate
from liteq.execution.awaited import aexecute
from liteq.execution.batch import batch_request, outcomes_of
from liteq.execution.together import Each, members_of
from liteq.message import Ack, Flag, Lease, Outcome, Release
from liteq.sending.behind import has_embedded
from liteq.utils.lines import begun_lines, end_lines
from liteq.worker.hooks import Hooks
from liteq.worker.pool.aio.running import Running, Steps, current
from liteq.worker.pool.base import ended_by, over_limit
from liteq.worker.pool.executor import Executor, _add_cause
from liteq.worker.pool.filed import unfiled
from liteq.worker.pool.limits import LONGEST_S, Limits, SoftLimit, limits_of
from liteq.worker.pool.page import Page
from liteq.worker.pool.runs import Runs

__all__ = ["AsyncExecutor"]

logger = logging.getLogger("liteq.worker")

T = TypeVar("T")
READERS = 2  # threads that read large arguments, and note that a task which runs at most once has begun
RUN, BATCH, FILED = Flag.RUN, Flag.BATCH, Flag.FILED


class AsyncExecutor(Executor):
    """Runs leases of one app on the loop of this thread; `run` is for its other threads.

    `started` is called with a lease and its hard limit before the body begins. `make_page`: where the runs of one
    thread note their steps.
    """

    def __init__(
        self,
        app: App,
        *,
        hostname: str,
        hooks: Hooks | None,
        limits: Limits,
        started: Callable[[Lease, float], None],
        stop: Callable[[bool], None],
        make_page: Callable[[], Page],
    ) -> None:
        super().__init__(app, hostname=hostname, hooks=hooks, limits=limits, started=started, stop=stop)
        self.runs = Runs(app, hostname, make_page=make_page)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="liteq-read")

    def is_awaited(self, lease: Lease) -> bool:
        """Whether `lease` runs on the loop: it is of an `async def` task, and nothing around that is in the way."""
        if lease.flags & RUN:
            return False
        task = self._tasks.get(lease.task) or self._tasks.find(lease.task)
        return task is not None and task.plan.awaits

    def is_async(self, lease: Lease) -> bool:
        """Whether `lease` is of an `async def` task that `is_awaited` is not, as something around it cannot await."""
        if lease.flags & RUN:
            return False
        task = self._tasks.get(lease.task) or self._tasks.find(lease.task)
        return task is not None and task.plan.member.is_async

    async def arun(self, running: Running) -> tuple[Outcome | None, float]:
        """Run a lease; its outcome, None of one that was stopped and whose outcome others know, and its seconds."""
        lease, before = running.lease, time.perf_counter()
        if lease.flags & FILED:
            url, lease = unfiled(lease)
            running.lease = lease
            self.app.enter_home(url)  # in the context of this coroutine alone
        try:
            if running.ended_by is not None:  # before its first step
                raise asyncio.CancelledError
            ran = self._together(running) if lease.flags & BATCH else self._alone(running)
            outcome: Outcome | None = await ran
        except asyncio.CancelledError:
            outcome = self._of_one_stopped(running)
        except BaseException as exc:  # as in a thread: it ends the task alone, counted as the end of a process
            outcome = ended_by(self.app, lease, exc, what="coroutine", hostname=self._hostname)
        finally:
            running.settled()
            if begun_lines.streams:
                end_lines()
        if outcome is not None and type(outcome) is not Ack:
            _add_cause(lease.task, outcome)
        return outcome, time.perf_counter() - before

    async def _alone(self, running: Running) -> Outcome:
        lease = running.lease
        task: Any = self._tasks.get(lease.task) or self._tasks.find(lease.task)
        made = await self._prepared(task, lease)
        if not isinstance(made, Request):
            return made
        if lease.flags & Flag.EARLY_ACK and not await self._in_reader(self._begin, [lease]):
            return Release()
        made._loop = asyncio.get_running_loop()
        try:
            limits = self._limits_of(task, lease, made)
        except Exception as exc:
            return self._unread(lease, exc)
        try:
            self._limit(running, made, limits)
            return (await aexecute(task, made, made.args, made.kwargs, clock=self._clock)).outcome
        except (WorkerShutdown, WorkerTerminate) as exc:
            self.ending = exc
            return self._refuse(lease, exc)
        except Exception as exc:
            return self._refuse(lease, exc)

    # -- in threads --------------------------------------------------------------------------------------------------

    def _within(self, task: Any, lease: Lease, limits: Limits) -> SoftLimit | None:
        """Have the parent keep the hard limit of a body that runs in a thread; where it awaits, the loop keeps both."""
        found = current.get()
        if found is None or not task.plan.member.is_async:
            return super()._within(task, lease, limits)
        found[0].limits = limits
        return None

    async def inside(self, coroutine: Any) -> Any:
        """Run the body of a task on the loop, while a thread holds what is around it."""
        found, task = current.get(), asyncio.current_task()
        assert found is not None, "it is run for a lease"
        assert task is not None, "it runs on the loop"
        running, request = found[0], current_request()
        if request is not None:
            running.request, request._loop = request, asyncio.get_running_loop()
        running.task, running.steps = task, cast("Steps", task.get_coro())
        running.others.discard(task)
        self._limit(running, request, running.limits)
        try:
            return await coroutine
        finally:
            running.settled()

    def outcome_in_thread(self, running: Running, done: Future[tuple[Outcome, float]]) -> tuple[Outcome | None, float]:
        """The outcome of a lease that a thread has run; as `arun`."""
        lease, exc = running.lease, done.exception()
        if exc is not None:
            text = "%s[%s] raised an exception that would have ended its process"
            logger.error(text, lease.task, lease.id, exc_info=exc)
            return ended_by(self.app, lease, exc, what="thread", hostname=self._hostname), 0.0
        outcome, runtime_s = done.result()
        return (outcome if running.ended_by is None else self._of_one_stopped(running)), runtime_s

    def _of_one_stopped(self, running: Running) -> Outcome | None:
        """The outcome of one that was stopped from outside: at its hard limit; else others know it."""
        why = running.ended_by
        if not isinstance(why, TimeLimitExceeded):
            return None
        lease = running.lease
        text = "Task %s[%s] given up: its hard time limit of %s s is exceeded; its coroutine was cancelled"
        named = {"task_name": lease.task, "task_id": lease.id}
        logger.error(text, lease.task, lease.id, *why.args[:1], extra=named)
        return over_limit(self.app, lease, why, self._hostname)

    # -- on the loop -------------------------------------------------------------------------------------------------

    async def _prepared(self, task: Any, lease: Lease) -> Request | Outcome:
        """The request of a message that is to run, its outcome where it does not; what is read, is read in a thread."""
        if lease.payload and not lease.flags & Flag.TAKES_INPUT and not has_embedded(lease):
            return self._request_in_batch(task, lease)
        return await self._in_reader(self._request_in_batch, task, lease)

    async def _in_reader(self, do: Callable[..., T], *given: Any) -> T:
        """Call `do` in a thread, which may wait for the file."""
        inside = contextvars.copy_context().run  # it says which file is read
        return await asyncio.get_running_loop().run_in_executor(self._readers, inside, do, *given)

    def _limit(self, running: Running, request: Request | None, limits: Limits) -> None:
        """Have the limits interrupt and stop the body that is about to begin; the parent is told of a hard one."""
        hard, soft = limits
        running.request, running.in_body = request, True
        if running.ended_by is not None:
            raise asyncio.CancelledError
        if request is not None:
            # Also without a limit: an interruption may come from outside.
            request._disarm = running.settled
        if hard is None and soft is None and running.early is None:
            return
        loop = asyncio.get_running_loop()
        if running.early is not None:
            running.timers.append(loop.call_soon(running.interrupt, running.early))
        if soft is not None:
            exc = SoftTimeLimitExceeded(soft)
            running.timers.append(loop.call_later(min(soft, LONGEST_S), running.interrupt, exc))
        if hard is not None:
            if self._started is not None:
                self._started(running.lease, hard)
            running.timers.append(loop.call_later(min(hard, LONGEST_S), running.stop, TimeLimitExceeded(hard)))

    async def _together(self, running: Running) -> Outcome:
        """Run those messages of a batch that can be run, in one call of their task; the outcomes of all."""
        batch = running.lease
        task: Any = self._tasks.get(batch.task) or self._tasks.find(batch.task)
        members = members_of(batch)
        found: dict[int, Outcome] = {}
        requests: list[Request] = []
        for lease in members:
            made = await self._prepared(task, lease)
            if isinstance(made, Request):
                requests.append(made)
            else:
                found[lease.token] = made
        if batch.flags & Flag.EARLY_ACK:
            requests = await self._in_reader(self._begin_together, requests, found)
        if requests:
            ends = await self._execute_batch(running, task, requests)
            found.update(zip([request.token or 0 for request in requests], ends, strict=True))
        for outcome in found.values():
            _add_cause(batch.task, outcome)
        return Each([found[lease.token] for lease in members])

    async def _execute_batch(self, running: Running, task: Any, requests: list[Request]) -> list[Outcome]:
        request = batch_request(requests, self._hostname)
        try:
            self._limit(running, request, limits_of(task, (None, None), self._default_limits))
            executed = await aexecute(task, request, request.args, request.kwargs, clock=self._clock)
        except Exception as exc:
            return self._ended_together(request, requests, exc)
        except (WorkerShutdown, WorkerTerminate) as exc:
            self.ending = exc
            return self._ended_together(request, requests, exc)
        return outcomes_of(task, request, executed)
