"""One lease to one outcome: find the task, decode its arguments, run it within its limits."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, NoReturn

from liteq.context import LEAVING, App, Request
from liteq.context.living import knowing, living
from liteq.context.unknown import FIRST_PAUSE_MS, left_to_others, unknown_since_ms
from liteq.exceptions import LeaseLost, NotRegistered, StorageError, WorkerShutdown, WorkerTerminate
from liteq.execution import batch as batches
from liteq.execution.arguments import arguments
from liteq.execution.batch import batch_request, outcomes_of
from liteq.execution.execute import begin_log, execute
from liteq.execution.hushed import hush
from liteq.execution.lines import about, about_end
from liteq.execution.together import Each, members_of
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Release, RetryAt
from liteq.sending.behind import has_embedded, put_behind
from liteq.serialization import encode_error
from liteq.serialization.causes import cause_of
from liteq.utils.lines import begun_lines, end_lines
from liteq.worker.hooks import Hooks
from liteq.worker.pool.filed import unfiled
from liteq.worker.pool.limits import Limits, SoftLimit, hold_back_in, limits_of
from liteq.worker.pool.page import Page
from liteq.worker.pool.runs import Runs
from liteq.worker.revoking import revoked_outcome

__all__ = ["Executor"]

logger = logging.getLogger("liteq.worker")

hold_back_in(batches.__name__)  # a soft limit is raised in the function of a batch: not while its members are settled

RUN = Flag.RUN
SPECIAL = Flag.RUN | Flag.BATCH | Flag.FILED  # asked for each task: a name of this module


class _Forks:
    """How often the process, or one that it was forked from, was forked: quicker to ask than its number."""

    n = 0

    def note(self) -> None:
        self.n += 1


_forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forks.note)


class Executor:
    """Runs leases of one app in this process.

    `started` is called with a lease and its hard limit in seconds before a body with such a limit runs: the parent,
    which can kill this process, then keeps the time. `limits`: the worker's default (hard, soft) limits. `stop(cold)`
    ends the worker, for a task that raised WorkerShutdown or WorkerTerminate. `page`: where a run notes its steps.
    """

    def __init__(
        self,
        app: App,
        *,
        hostname: str,
        hooks: Hooks | None = None,
        limits: Limits = (None, None),
        started: Callable[[Lease, float], None] | None = None,
        stop: Callable[[bool], None] | None = None,
        page: Page | None = None,
    ) -> None:
        hush(app.conf.payload_codec is not None)  # a child that is not forked begins with the lines as they are
        self.runs = Runs(app, hostname, page)
        self.ending: SystemExit | None = None  # raised by a task, to end the worker
        self._stop = stop
        self._hooks = hooks or Hooks()
        self.app = app
        self._tasks = app.tasks
        self._clock = app.clock
        self._hostname = hostname
        self._default_limits = limits
        self._started = started
        self._limits: dict[str, Limits] = {}
        self._warned: set[str] = set()
        self.adopt()

    def adopt(self) -> None:
        """Have tasks that run in this thread, in this context, ask here whether they are to leave at their cursors.

        For each thread that executes; the one that makes this object need not.
        """
        LEAVING.set(self._leaving)

    def _leaving(self) -> object:
        return self.runs.leaving()

    def run(self, lease: Lease) -> tuple[Outcome, float]:
        """Run `lease`; its outcome, and for how many seconds it ran.

        A BaseException that is no Exception is raised, but for SystemExit: it is meant to end this process.
        """
        forks = _forks.n
        try:
            ran = self._run(lease)
            if type(ran[0]) is not Ack:
                _add_cause(lease.task, ran[0])
            return ran
        finally:
            if _forks.n != forks:
                _end_copy(lease)
            if begun_lines.streams:
                end_lines()

    def _run(self, lease: Lease) -> tuple[Outcome, float]:
        if lease.flags & SPECIAL:
            return self._run_special(lease)
        if lease.expires_ms is not None and self._is_late(lease, lease.expires_ms):
            return revoked_outcome(self.app, lease, self._hostname, terminated=False, expired=True), 0.0
        task = self._tasks.get(lease.task) or self._tasks.find(lease.task)
        if task is None:
            return self._hand_back(lease, NotRegistered(lease.task, self._tasks)), 0.0
        try:
            if not lease.payload:  # large ones are read here, and not by the process on which all others depend
                lease = self.app.storage.reader.with_payload(lease)
            args, kwargs = arguments(task, lease)
            request = Request.from_lease(lease, args, kwargs, self._hostname)
            hard, soft = self._limits_of(task, lease, request)
            if lease.options is not None and has_embedded(lease):
                lease = put_behind(self.app, lease)
        except Exception as exc:
            return self._unread(lease, exc), 0.0
        if lease.flags & Flag.EARLY_ACK and not self._begin([lease]):
            return Release(), 0.0
        before = time.perf_counter()
        try:
            if hard is None and soft is None:
                outcome = execute(task, request, args, kwargs, clock=self._clock).outcome
            else:
                outcome = self._run_limited(task, request, hard, soft, lease)
        except (WorkerShutdown, WorkerTerminate) as exc:
            # A failure of the task: run again, it would end the next worker too.
            self.ending = exc
            outcome = self._refuse(lease, exc)
        except Exception as exc:
            # It did something of which no outcome can be made (a retry at no possible time): it fails, not its process.
            outcome = self._refuse(lease, exc)
        return outcome, time.perf_counter() - before

    def _is_late(self, lease: Lease, expires_ms: int) -> bool:
        """Whether `lease` is not to begin any more; what has saved a cursor has begun."""
        return self._clock.now_ms() >= expires_ms and not lease.flags & Flag.CURSOR

    def _run_special(self, lease: Lease) -> tuple[Outcome, float]:
        if lease.flags & Flag.FILED:
            url, lease = unfiled(lease)
            with self.app.at_home(url):
                return self._run(lease)
        return self.runs.run(lease) if lease.flags & RUN else self._run_together(lease)

    def _unread(self, lease: Lease, exc: Exception) -> Outcome:
        """The outcome of a message whose arguments, or limits, cannot be read because of `exc`."""
        if isinstance(exc, LeaseLost):
            logger.warning("%s[%s] is not begun: %s", lease.task, lease.id, exc)
            return Release()  # it is thrown away
        if isinstance(exc, StorageError):  # large arguments, or a chord's results, cannot be read at the moment
            logger.warning("%s[%s] is handed back: %s", lease.task, lease.id, exc)
            return Release(pause_ms=FIRST_PAUSE_MS, options=lease.options)
        return self._refuse_unread(lease, exc)

    # -- batches -----------------------------------------------------------------------------------------------------

    def _run_together(self, batch: Lease) -> tuple[Outcome, float]:
        """Run those messages of a batch that can be run, in one call of their task; the outcomes of all."""
        task = self._tasks.get(batch.task) or self._tasks.find(batch.task)
        members = members_of(batch)
        found: dict[int, Outcome] = {}
        requests: list[Request] = []
        for lease in members:
            made = self._request_in_batch(task, lease)
            if isinstance(made, Request):
                requests.append(made)
            else:
                found[lease.token] = made
        requests = self._begin_together(requests, found)
        before = time.perf_counter()
        if requests:
            ends = self._execute_together(task, batch, requests)
            found.update(zip([request.token or 0 for request in requests], ends, strict=True))
        runtime_s = time.perf_counter() - before
        for outcome in found.values():
            _add_cause(batch.task, outcome)
        return Each([found[lease.token] for lease in members]), runtime_s

    def _request_in_batch(self, task: Any, lease: Lease) -> Request | Outcome:
        """The request of a message that is to run in a batch; its outcome where it does not run."""
        if lease.expires_ms is not None and self._is_late(lease, lease.expires_ms):
            return revoked_outcome(self.app, lease, self._hostname, terminated=False, expired=True)
        if task is None:
            return self._hand_back(lease, NotRegistered(lease.task, self._tasks))
        try:
            if not lease.payload:
                lease = self.app.storage.reader.with_payload(lease)
            request = Request.from_lease(lease, *arguments(task, lease), self._hostname)
            if has_embedded(lease):
                lease = put_behind(self.app, lease)
        except Exception as exc:
            return self._unread(lease, exc)
        return request

    def _begin_together(self, requests: list[Request], found: dict[int, Outcome]) -> list[Request]:
        """Note in one commit that those which run at most once have begun; the requests that are to run now.

        In one, as a process that died between two would leave members that may not run again and never ran. Each that
        is not begun goes back, in `found`.
        """
        once = [one._lease for one in requests if one._lease is not None and one._lease.flags & Flag.EARLY_ACK]
        if not once:
            return requests
        begun = self._begin(once)
        back = {lease.token for lease in once} - begun
        found.update((token, Release()) for token in back)
        return [one for one in requests if one.token not in back]

    def _execute_together(self, task: Any, batch: Lease, requests: list[Request]) -> list[Outcome]:
        """Execute messages in one call; the outcomes in their order. The time limit is the task's, for all of them."""
        request = batch_request(requests, self._hostname)
        within = self._within(task, batch, limits_of(task, (None, None), self._default_limits))
        if batch.flags & Flag.LOGS:
            begin_log(task, request)
        try:
            executed = execute(task, request, request.args, request.kwargs, clock=self._clock, within=within)
        except Exception as exc:
            return self._ended_together(request, requests, exc)
        except (WorkerShutdown, WorkerTerminate) as exc:
            self.ending = exc
            return self._ended_together(request, requests, exc)
        return outcomes_of(task, request, executed)

    def _ended_together(self, request: Request, requests: list[Request], exc: BaseException) -> list[Outcome]:
        """The outcomes of a batch that `exc` ended: of those that it had settled before, and failures of the others."""
        settled = request._outcomes or [None] * len(requests)
        leases = [one._lease for one in requests]
        return [
            outcome or self._refuse(lease, exc)
            for lease, outcome in zip(leases, settled, strict=True)
            if lease is not None
        ]

    def _begin(self, leases: list[Lease]) -> set[int]:
        """Note that messages which run at most once have begun; the tokens of those that may run now.

        One that is left out belongs to another worker by now. All are where the file cannot be written: they go back.
        """
        try:
            return {one.token for one in self.app.storage.leases.begin(leases)}
        except StorageError as exc:
            for lease in leases:
                logger.error("%s[%s] goes back, not begun: %s", lease.task, lease.id, exc)  # noqa: TRY400 - in one line
            return set()

    def end_worker(self) -> None:
        """End the worker if a task asked for it; called once that task's outcome is in safe hands."""
        ending, self.ending = self.ending, None
        if ending is not None and self._stop is not None:
            self._stop(isinstance(ending, WorkerTerminate))

    def forget_limits(self) -> None:
        """Look a task's limits up again: they have been changed."""
        self._limits.clear()

    def _limits_of(self, task: Any, lease: Lease, request: Request) -> Limits:
        if lease.options is not None:
            if lease.flags & Flag.LOGS:
                begin_log(task, request)
            return limits_of(task, request.timelimit or (None, None), self._default_limits)
        limits = self._limits.get(lease.task)
        if limits is None:
            limits = self._limits[lease.task] = limits_of(task, (None, None), self._default_limits)
        return limits

    def _run_limited(
        self, task: Any, request: Request, hard: float | None, soft: float | None, lease: Lease
    ) -> Outcome:
        within = self._within(task, lease, (hard, soft))
        return execute(task, request, request.args, request.kwargs, clock=self._clock, within=within).outcome

    def _within(self, task: Any, lease: Lease, limits: Limits) -> SoftLimit | None:
        """The soft limit around the body of `lease`, which is about to begin; the parent is told of a hard one."""
        hard, soft = limits
        if hard is not None and self._started is not None:
            self._started(lease, hard)
        elif hard is not None:
            self._warn(task.name, "a hard time limit needs the prefork pool: not enforced")
        if soft is not None and SoftLimit.available():
            return SoftLimit(soft)
        if soft is not None:
            self._warn(task.name, "a soft time limit needs the prefork or solo pool: not enforced")
        return None

    def _hand_back(self, lease: Lease, exc: NotRegistered) -> Outcome:
        """Leave a message whose task is unknown to workers with newer code, until nobody has taken it for a while.

        Its options say since when: each worker that it comes to reads there whether that while is over. While a living
        worker of its queue knows the task, perhaps a busy one of Celery's, it is left to that.
        """
        now_ms = self._clock.now_ms()
        since_ms = unknown_since_ms(lease, now_ms)
        left_ms = (now_ms if since_ms is None else since_ms) + int(self.app.conf.unknown_task_patience * 1000) - now_ms
        if left_ms <= 0:
            other = knowing(living(self.app), lease.queue, lease.task, but=self._hostname)
            if other is None:
                return self._refuse_unread(lease, exc)
            self._warn(lease.task, f"it is not known here, and waits for worker {other}, which knows it")
            return left_to_others(lease, now_ms)
        if since_ms is None:
            text = "%s[%s] is not known here: it is left to workers with other code, for %.0f s"
            logger.warning(text, lease.task, lease.id, left_ms / 1000)
        return left_to_others(lease, now_ms, left_ms=left_ms)

    def _refuse_unread(self, lease: Lease, exc: Exception) -> Outcome:
        """Refuse a message whose task is unknown or whose arguments cannot be read, and tell the hooks."""
        outcome = self._refuse(lease, exc)
        self._hooks.refused(lease, exc)
        return outcome

    def _refuse(self, lease: Lease, exc: BaseException) -> Outcome:
        """Make a dead letter of a message that cannot be run here; it can be replayed when the code can run it."""
        extra = {**about(lease, "task.dead"), **about_end("dead", exc=exc)}
        logger.error("cannot run %s[%s]: %.1000s; it is a dead letter now", lease.task, lease.id, exc, extra=extra)
        return DeadLetter(encode_error(exc))

    def _warn(self, name: str, text: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            logger.warning("task %s: %s", name, text)


def _add_cause(task: str, outcome: Outcome) -> None:
    """Say why it failed, in the process that knows which code is the app's."""
    if isinstance(outcome, (DeadLetter, RetryAt)) and outcome.error is not None:
        cause = cause_of(task, outcome.error)
        outcome.cause = None if cause is None else tuple(cause)


def _end_copy(lease: Lease) -> NoReturn:
    """End a process that a task has forked and that came back out of it, by a return or an exception.

    It is a copy of the executing process: it would report an outcome for a lease that its parent still works on, and
    go on to take others.
    """
    logger.error("%s[%s] forked a process that did not end in it (os._exit): ending it", lease.task, lease.id)
    os._exit(1)
