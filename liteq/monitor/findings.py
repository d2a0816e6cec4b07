"""Work that does not go on, and its reason: the one answer of `doctor`, `status`, status routes and the admin.

An `error` is work that stands still until somebody acts; a `warning` is a thing that somebody should look at. What has
waited for less than a minute is no more than that: a worker that is being started again will take it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from liteq.app.schedules import unsent
from liteq.context import App
from liteq.context.living import as_of_ms, living, takes_from, untaken
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import error_line
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.reading.backlog import COUNTED, Backlog
from liteq.storage.upkeep import DISK_FULL
from liteq.utils.names import is_built_in
from liteq.utils.records import NamedTuple
from liteq.utils.text import span

__all__ = ["Finding", "findings"]

GRACE_S = 60.0  # a deployment's; and a beat that is there looks each 5 s
STATUSES = ("warning", "error")
NAMED = 3  # tasks, schedules and workers that a finding names


class Finding(NamedTuple):
    """One thing that is wrong: `kind` in two words, `status` "error" or "warning", `detail` with what to do."""

    kind: str
    status: str
    detail: str


def findings(app: App, see: Sight = ALL) -> list[Finding]:
    """The things that are wrong with the work of `app`'s file, the errors first; [] when there are none.

    For a viewer of some queues (`see`): with these; what belongs to no queue is for viewers of all. A paused queue is
    no trouble: somebody wants its messages to wait.

    Costs some look-ups in indexes for each queue in which messages wait, however many these are. Raises StorageError
    where the file cannot be read.
    """
    alive = living(app)
    paused = app.storage.queues.paused()
    waiting = (one for one in app.storage.reader.backlog() if see.sees(one.queue))
    backlogs = [one for one in waiting if paused.of(one.queue) is None]
    found = [*_of_queues(app, backlogs, alive)]
    if see.queues is None:
        found += [*_of_disk(app), *_of_schedules(app), *_of_runs(app), *_of_dead_letters(app)]
        found += [*_of_names(alive), *_of_files(alive)]
    return sorted(found, key=lambda one: STATUSES.index(one.status), reverse=True)


def _of_queues(app: App, backlogs: Sequence[Backlog], alive: Sequence[WorkerRecord]) -> Iterator[Finding]:
    if not alive:
        if backlogs:
            waiting = "; ".join(_waiting(app, one) for one in backlogs[:NAMED])
            status = max((_status(app, one) for one in backlogs), key=STATUSES.index)
            yield Finding("no worker", status, f"{waiting}, and no worker lives: start one with `liteq worker`")
        return
    for one in backlogs:
        takers = [worker for worker in alive if takes_from(worker, one.queue)]
        if not takers:
            why = untaken(one.queue, alive, "it")
            yield Finding("idle queue", _status(app, one), f"{_waiting(app, one)}, and {why}")
            continue
        unknown = _unknown(one, takers)
        if unknown:
            many = f"{_some(unknown)} in queue {one.queue!r}: no living worker of it knows {_them(unknown, 'task')}"
            yield Finding("unknown tasks", _status(app, one), f"{many}; start one whose app has {_them(unknown)}")
        if _age_s(app, one.oldest_ms) > app.conf.stuck_after:
            yield Finding(
                "old messages", "warning", f"{_waiting(app, one)}: more than its workers can do, or they hang"
            )


def _unknown(one: Backlog, takers: Sequence[WorkerRecord]) -> list[str]:
    """The tasks at the head of a queue that none of its workers knows; [] where one of them does not tell its tasks."""
    known: set[str] = set()
    for worker in takers:
        told = worker.facts.get("tasks")
        if not isinstance(told, list):  # an older liteq's, or more than it can tell
            return []
        known.update(map(str, told))
    return sorted(task for task in one.tasks - known if not is_built_in(task))  # those are built in


def _of_disk(app: App) -> Iterator[Finding]:
    if app.storage.driver.in_reserve():
        yield Finding("disk", "error", DISK_FULL)  # named as by the doctor, so that it is told once


def _of_schedules(app: App) -> Iterator[Finding]:
    now_ms = as_of_ms(app)
    overdue = [one for one in unsent(app) if one.next_due_ms is not None and now_ms - one.next_due_ms > GRACE_S * 1000]
    if overdue:
        oldest = overdue[0]
        assert oldest.next_due_ms is not None
        late = span((now_ms - oldest.next_due_ms) / 1000)
        names = _some([one.name for one in overdue])
        yield Finding(
            "overdue schedules", "error",
            f"{names}: due for {late}, and not sent, so no beat runs: start `liteq beat`, or a worker with -B",
        )  # fmt: skip


def _of_runs(app: App) -> Iterator[Finding]:
    stuck = app.storage.runs.list(status="stuck", limit=NAMED)
    if not stuck:
        return
    n = app.storage.runs.waiting().stuck
    many, is_ = ("1 run", "is") if n == 1 else (f"{_number(n)} runs", "are")
    why = error_line(stuck[0].error) or "unknown"
    yield Finding(
        "stuck runs", "error",
        f"{many} {is_} stuck, the newest {stuck[0].name} {stuck[0].id}: {why}; see `liteq workflow list "
        "--status stuck`, deploy code that can go on with them, or resume, rewind or cancel them",
    )  # fmt: skip


def _of_dead_letters(app: App) -> Iterator[Finding]:
    n, newest_ms = app.storage.reader.dead_letters()
    if n:
        newest = "" if newest_ms is None else f", the newest {span(_age_s(app, newest_ms))} ago"
        letters = "1 dead letter" if n == 1 else f"{_number(n)} dead letters"
        yield Finding("dead letters", "warning", f"{letters}{newest}: see `liteq dead list`; requeue or drop them")


def _of_names(alive: Sequence[WorkerRecord]) -> Iterator[Finding]:
    twins = sorted(name for name, n in Counter(worker.name for worker in alive).items() if n > 1)
    if twins:
        yield Finding(
            "one name", "warning",
            f"several workers are called {_some(twins)}: `inspect` and `control` cannot tell them apart; "
            "start each with a name of its own, -n NAME@%h",
        )  # fmt: skip


# -- words -----------------------------------------------------------------------------------------------------------


def _of_files(alive: Sequence[WorkerRecord]) -> Iterator[Finding]:
    """Files that a worker of many files cannot use."""
    for worker in alive:
        aside = worker.facts.get("set_aside")
        if isinstance(aside, dict) and aside:
            path, reason = next(iter(aside.items()))
            many = "1 file" if len(aside) == 1 else f"{_number(len(aside))} files"
            detail = f"{worker.name} has set {many} aside and tries again now and then; of {path} it says: {reason}"
            yield Finding("set aside", "warning", detail)


def _waiting(app: App, one: Backlog) -> str:
    messages, wait = ("1 message", "waits") if one.n == 1 else (f"{_number(one.n)} messages", "wait")
    age = span(_age_s(app, one.oldest_ms))
    return f"{messages} {wait} in queue {one.queue!r}, " + (f"for {age}" if one.n == 1 else f"the oldest for {age}")


def _status(app: App, one: Backlog) -> str:
    return "error" if _age_s(app, one.oldest_ms) > GRACE_S else "warning"


def _age_s(app: App, ms: int) -> float:
    return max(0.0, (as_of_ms(app) - ms) / 1000)


def _number(n: int) -> str:
    return f"{n:,}" if n < COUNTED else f"{COUNTED:,} or more"


def _some(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(map(repr, islice(names, NAMED))) + (f" and {rest} more" if rest > 0 else "")


def _them(names: Sequence[str], noun: str = "") -> str:
    one = len(names) == 1
    return (f"this {noun}" if one else f"these {noun}s") if noun else ("it" if one else "them")
