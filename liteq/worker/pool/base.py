"""The interface of a pool: the loop gives it leases, and gets outcomes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol

from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, StorageError, TimeLimitExceeded, WorkerLostError, text_of
from liteq.execution.lines import about, about_end
from liteq.execution.lost import tell_lost
from liteq.execution.together import ALONE, Each, members_of
from liteq.message import Ack, DeadLetter, Flag, Lease, Outcome, Ran, Release
from liteq.serialization import decode, encode, encode_error
from liteq.utils.records import NamedTuple, dataclass
from liteq.worker.pool.filed import at_its_file
from liteq.worker.pool.limits import SoftLimit
from liteq.worker.pool.page import StepNow

__all__ = [
    "BUDGET_S",
    "LONG_S",
    "MAX_WINDOW",
    "Afresh",
    "Estimates",
    "Loop",
    "Pool",
    "RunningLease",
    "crashed",
    "crashed_together",
    "ended_by",
    "failed",
    "given_back",
    "importing",
    "note",
    "over_limit",
    "refuse_nested",
    "worth_a_turn",
]

logger = logging.getLogger("liteq.worker")

BUDGET_S = 4e-3  # work given to one executor in advance, as expected run time: enough to hide the parent's turn
LONG_S = 50e-3  # nothing is given in advance behind a task that takes longer: it might run elsewhere meanwhile
MAX_WINDOW = 128  # leases given to one executor in advance at most
HOOKS_S = 10.0  # that hooks of a task whose process died may hold up the worker's loop
UNKNOWN_S = 5e-3  # expected of a task that has not run yet
WEIGHT = 0.1  # of the newest run time in the average


@dataclass
class Afresh:
    """How a process that shares no memory with the worker comes by its app and its log; both can be pickled.

    `find` gives the app: without it the app is looked for in the modules of the worker. `set_up` is called with it.
    """

    find: Callable[[], App] | None = None
    set_up: Callable[[App], object] | None = None


_imports = False


@contextmanager
def importing() -> Iterator[None]:
    """While a process that was started for tasks imports the app: `refuse_nested` raises."""
    global _imports
    _imports = True
    try:
        yield
    finally:
        _imports = False


def refuse_nested() -> None:
    """Raises ImproperlyConfigured where a worker is about to start in a process that another one starts just now."""
    if _imports:
        raise ImproperlyConfigured(
            "importing the app starts a worker: a process that is started afresh imports it too, and would start "
            "workers without end; put that line under `if __name__ == '__main__':`"
        )


class Loop(Protocol):
    """The worker's loop, as a pool sees it."""

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` in the loop when `fd` is readable."""

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`."""

    def let_go(self) -> None:
        """In a forked child: drop the loop's descriptors."""

    def look(self) -> None:
        """Look for something to claim in the next turn."""


class Estimates:
    """How long tasks are expected to run: an exponential moving average by name, and over all."""

    def __init__(self) -> None:
        self._by_task: dict[str, float] = {}
        self.typical_s = UNKNOWN_S

    def expected_s(self, task: str) -> float:
        return self._by_task.get(task, UNKNOWN_S)

    def add(self, task: str, runtime_s: float) -> None:
        known = self._by_task.get(task, runtime_s)
        self._by_task[task] = known + (runtime_s - known) * WEIGHT
        self.typical_s += (runtime_s - self.typical_s) * WEIGHT

    def window(self, load_s: float, leases: int, running_s: float) -> int:
        """How many more leases an executor may be given that has `leases`, expected to take `load_s` seconds."""
        if leases and running_s > LONG_S:
            return 0
        room = min(int((BUDGET_S - load_s) / max(self.typical_s, 1e-6)), MAX_WINDOW - leases)
        return max(room, 2 - leases if load_s < LONG_S else 1 - leases, 0)


def worth_a_turn(rooms: Iterable[tuple[int, int]]) -> bool:
    """Whether an executor has begun the second half of its leases. `rooms`: how many more each may have, and has now.

    A turn of the loop for each place that becomes free would be dear: one turn for ten leases costs only three times as
    much as a turn for one.
    """
    return any(room and room >= leases for room, leases in rooms)


class RunningLease(NamedTuple):
    """A lease that is being executed, since when (monotonic seconds), and in which process."""

    lease: Lease
    since: float
    pid: int


@at_its_file
def crashed(app: App, lease: Lease, exc: WorkerLostError, hostname: str | None = None) -> Outcome:
    """The outcome of a task whose process died: it runs again, up to `max_crashes` times.

    Where `reject_on_worker_lost` is False, for the task or for all, it has failed. Where it has failed, its hooks are
    called here.
    """
    if lease.flags & Flag.BATCH:
        return crashed_together(app, lease, exc, hostname)
    task = app.tasks.find(lease.task)
    if task is not None and task.reject_on_worker_lost is False:
        _log_crash(lease, exc, "given up: reject_on_worker_lost is False", "dead")
        return failed(app, lease, exc, hostname)
    n, most = lease.crashes + 1, app.conf.max_crashes
    if n < most and not lease.flags & Flag.EARLY_ACK:  # as `settle` decides it
        _log_crash(lease, exc, f"it runs again, after crash {n} of {most}", "crashed")
    else:
        early = "given up: it is acknowledged early, so it does not run twice"
        often = f"given up after {n} crashes (max_crashes): it is a dead letter now"
        _log_crash(lease, exc, early if lease.flags & Flag.EARLY_ACK else often, "dead")
        failed(app, lease, exc, hostname)
    return Release(crashed=True, error=encode_error(exc))


@at_its_file
def given_back(app: App, lease: Lease) -> Release:
    """The outcome of a message whose process was ended for no fault of its own: it runs again.

    But one that runs at most once is over where it has begun, as its row says: a process may hold many that have not.
    Of a batch the members are asked.
    """
    if not lease.flags & Flag.EARLY_ACK or lease.flags & Flag.BATCH:
        return Release(crashed=bool(lease.flags & Flag.EARLY_ACK))
    try:
        now = app.storage.leases.find(lease.seq, lease.token)
    except StorageError:  # nobody knows: it is not to run twice
        return Release(crashed=True)
    return Release(crashed=now is None or bool(now.flags & Flag.BEGUN))


def crashed_together(app: App, batch: Lease, exc: Exception, hostname: str | None = None) -> Outcome:
    """The outcomes of a batch whose process died, or was killed at its time limit: its members run again, each alone.

    One of them is to blame, and the others are not to be dead letters because of it: so the crash is no member's last,
    but of those that run once at most.
    """
    members, error = members_of(batch), encode_error(exc)
    extra = {**about(batch, "task.crashed"), **about_end("crashed", exc=exc), "batch": [one.id for one in members]}
    text = "%s, and %d more of its batch: they run again, each alone (%.300s)"
    logger.error(text, f"{batch.task}[{batch.id}]", len(members) - 1, text_of(exc), extra=extra)
    task = app.tasks.find(batch.task)
    once = task is not None and task.reject_on_worker_lost is False
    found: list[Outcome] = []
    for one in members:
        if once or one.flags & Flag.EARLY_ACK:
            ended = failed(app, one, exc, hostname)
            found.append(ended if once else Release(crashed=True, error=error))
        elif one.crashes + 1 < app.conf.max_crashes:
            found.append(Release(crashed=True, error=error))
        else:
            options = {**(decode(one.options) if one.options else {}), ALONE: True}
            found.append(Release(pause_ms=0, options=encode(options, what=f"options of {one.task}")))
    return Each(found)


def _log_crash(lease: Lease, exc: WorkerLostError, fate: str, outcome: str) -> None:
    ended = about_end(outcome, exc=exc)
    extra = {**about(lease, f"task.{outcome}"), **ended, "crashes": lease.crashes + 1}
    logger.error("%s; %s", exc.args[0], fate, extra=extra)


@at_its_file
def failed(app: App, lease: Lease, exc: BaseException, hostname: str | None = None) -> DeadLetter:
    """The outcome of a task that failed by `exc` with its process; calls its hooks, for HOOKS_S seconds at most."""
    try:
        with SoftLimit(HOOKS_S) if SoftLimit.available() else nullcontext():
            tell_lost(app, lease, exc, hostname)
    except BaseException:  # code of the user's in the worker's own process: it must not end that
        logger.exception("what was to be told of %s[%s] raised", lease.task, lease.id)
    return DeadLetter(encode_error(exc))


@at_its_file
def over_limit(app: App, lease: Lease, exc: TimeLimitExceeded, hostname: str | None = None) -> Outcome:
    """The outcome of a task whose process was killed at its hard time limit."""
    return (crashed_together if lease.flags & Flag.BATCH else failed)(app, lease, exc, hostname)


def ended_by(app: App, lease: Lease, exc: BaseException, *, what: str, hostname: str | None = None) -> Outcome:
    """The outcome of a task that raised a BaseException that is no Exception, and so ended its thread or process."""
    name = type(exc).__qualname__
    lost = WorkerLostError(f"the {what} that ran {lease.task}[{lease.id}] was ended by {name}")
    return crashed(app, lease, lost, hostname)


def note(timings: dict[int, Ran], lease: Lease, outcome: Outcome, ran: Ran) -> None:
    """Note when `lease` began and how long it ran, where it was executed: in its Ack, else in `timings`."""
    if type(outcome) is Ack:
        outcome.ran = ran
    elif ran[1]:
        timings[lease.token] = ran


class Pool(Protocol):
    """Executes leases. All calls come from the loop's thread; a pool executes in threads or processes of its own."""

    name: str
    size: int
    timings: dict[int, Ran]
    """When each lease began, and how long it ran, by token: of those whose outcome is no Ack (`Ack.ran`), until that is
    stored."""
    exits: Counter[str]
    """How many of its processes ended, by reason, since somebody counted them: crash time_limit terminated replaced."""

    def start(self, loop: Loop) -> None:
        """Get ready to execute, and have `loop` watch the descriptors that become readable with outcomes."""

    def capacity(self) -> int:
        """How many leases it would take now."""

    def submit(self, leases: list[Lease]) -> None:
        """Take leases; their outcomes come by `collect`."""

    def collect(self) -> list[tuple[Lease, Outcome]]:
        """The outcomes that have come in since the last call."""

    def leases(self) -> list[Lease]:
        """The leases that it has and whose outcome has not been collected."""

    def tend(self, now: float) -> float | None:
        """Keep time limits, look after stragglers, replace the dead; when to be called again (monotonic), if known."""

    def take_back(self) -> list[Lease]:
        """Give up the leases that have not been started."""

    def abandon(self, leases: Sequence[Lease]) -> None:
        """Stop executing leases that were lost; their outcomes are of no use any more."""

    def running(self) -> list[RunningLease]:
        """The leases that are being executed, as far as it is known here."""

    def leave_runs(self) -> None:
        """Have runs of workflows give their leases back after the step in progress."""

    def steps(self) -> list[StepNow]:
        """The steps of workflows that are executed now, as far as it is known here."""

    def end_overdue(self, now: float) -> None:
        """Kill the processes of steps that are `GRACE_S` past their deadline; say it where that cannot be done."""

    def withdraw(self, tokens: set[int]) -> list[Lease]:
        """Give up those of these leases that have not been started."""

    def terminate(self, tokens: set[int], signum: int, outcome: Callable[[Lease], Outcome]) -> bool:
        """Send a signal to the processes that run these leases; a lease whose process dies of it ends with `outcome`.

        False where that cannot be done.
        """

    def renew(self) -> None:
        """Have leases from now on executed with the tasks as they are now: their limits may have been changed."""

    def resize(self, size: int) -> None:
        """Execute `size` leases at a time from now on."""

    def pids(self) -> list[int]:
        """The processes that execute."""

    def kill(self) -> None:
        """Stop at once, with tasks that still run."""

    def stop(self) -> None:
        """End an idle pool."""
