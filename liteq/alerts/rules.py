"""The rules: what is wrong with the work of a file, each with a key that stays the same while it is wrong.

Each costs some look-ups in indexes, whatever the file holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from liteq.app.schedules import unsent
from liteq.context import App
from liteq.context.living import living, takes_from, untaken
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.reading.backlog import COUNTED, Backlog
from liteq.storage.upkeep import DISK_FULL
from liteq.utils.records import NamedTuple
from liteq.utils.text import span

__all__ = ["Alert", "alerts"]

GRACE_S = 60.0  # a deployment's: workers and beat that are being started again are no alert
HOUR_MS = 3_600_000
MOST = 20  # alerts of one rule at once; the file is bounded, and so is what a person reads


class Alert(NamedTuple):
    """One thing that is wrong: the `rule`, its `subject` (a queue, a task, ...), `text` with what to do.

    `patience_s`: for how long it is to stand before anybody is told.
    """

    rule: str
    subject: str
    text: str
    patience_s: float = 0.0

    @property
    def key(self) -> str:
        """The same as long as this is wrong."""
        return f"{self.rule} {self.subject}".rstrip()


def alerts(app: App) -> list[Alert]:
    """The things that are wrong now; [] when all is well. Raises StorageError where the file cannot be read."""
    return [
        *_of_workers(app),
        *_of_failures(app),
        *_of_dead_letters(app),
        *_of_schedules(app),
        *_of_stuck_runs(app),
        *_of_approvals(app),
        *_of_storage(app),
    ]


def _of_workers(app: App) -> Iterator[Alert]:
    alive = living(app)
    paused = app.storage.queues.paused()
    backlogs = [one for one in app.storage.reader.backlog() if paused.of(one.queue) is None]
    if not alive:
        waiting = f"; messages wait in {_some([one.queue for one in backlogs])}" if backlogs else ""
        text = f"no worker lives{waiting}: start one with `liteq worker`"
        yield Alert("no_worker", "", text, GRACE_S)
    late = [one for one in backlogs if _age_s(app, one.oldest_ms) > app.conf.alert_head_wait]
    for one in backlogs[:MOST]:
        if alive and not _takers(one, alive):
            yield Alert("no_worker", one.queue, untaken(one.queue, alive, f"queue {one.queue!r}"), GRACE_S)
    for one in late[:MOST]:
        n = f"{one.n:,}" if one.n < COUNTED else f"{COUNTED:,} or more"
        text = f"the head of queue {one.queue!r} has waited for {span(_age_s(app, one.oldest_ms))} ({n} wait)"
        yield Alert("head_wait", one.queue, text)


def _takers(one: Backlog, alive: Sequence[WorkerRecord]) -> list[WorkerRecord]:
    return [worker for worker in alive if takes_from(worker, one.queue)]


def _of_failures(app: App) -> Iterator[Alert]:
    since_ms = app.clock.now_ms() - HOUR_MS
    for one in app.storage.alerts.failures(since_ms=since_ms, least=app.conf.alert_failures, limit=MOST):
        exception = one.exception or "an unknown error"
        text = f"{one.task} failed {one.n:,} times of {exception} in the last hour: see `liteq dead list`"
        yield Alert("failures", f"{one.task} {one.exception}".rstrip(), text)


def _of_dead_letters(app: App) -> Iterator[Alert]:
    most = max(COUNTED, app.conf.alert_dead_letters)
    n = app.storage.alerts.dead_since(since_ms=app.clock.now_ms() - HOUR_MS, limit=most)
    if n >= app.conf.alert_dead_letters:
        many = f"{n:,}" if n < most else f"{most:,} or more"
        yield Alert("dead_letters", "", f"{many} new dead letters in the last hour: see `liteq dead list`")


def _of_schedules(app: App) -> Iterator[Alert]:
    for one in unsent(app)[:MOST]:
        late_s = 0.0 if one.next_due_ms is None else _age_s(app, one.next_due_ms)
        if late_s > GRACE_S:
            text = f"{one.name} is due for {span(late_s)} and not sent: start `liteq beat`, or a worker with -B"
            yield Alert("schedule_late", one.name, text)


def _of_stuck_runs(app: App) -> Iterator[Alert]:
    stuck = Counter(run.name for run in app.storage.runs.list(status="stuck", limit=COUNTED))
    for name, n in stuck.most_common(MOST):
        many = "1 run" if n == 1 else f"{n:,} runs" if n < COUNTED else f"{COUNTED:,} runs or more"
        is_ = "is" if n == 1 else "are"
        yield Alert("run_stuck", name, f"{many} of {name} {is_} stuck: see `liteq workflow list --status stuck`")


def _of_approvals(app: App) -> Iterator[Alert]:
    now_ms, told = app.clock.now_ms(), 0
    for one in app.storage.runs.approvals(limit=COUNTED):
        is_late = _age_s(app, one.since_ms) > app.conf.alert_approval_wait
        if (is_late or (one.due_ms is not None and one.due_ms <= now_ms)) and told < MOST:
            told += 1
            text = f"{one.title!r} of run {one.run_id} has waited {span(_age_s(app, one.since_ms))} for an answer"
            yield Alert("approval_overdue", f"{one.run_id} {one.title}", f"{text}: see `liteq workflow pending`")


def _of_storage(app: App) -> Iterator[Alert]:
    driver = app.storage.driver
    found = [*driver.warnings(), *([DISK_FULL] if driver.in_reserve() else ())]
    if found:  # as one: their words change with each look, so none of them could be told from the one before
        yield Alert("storage", "", "; ".join(found))


def _age_s(app: App, ms: int) -> float:
    return max(0.0, (app.clock.now_ms() - ms) / 1000)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - 3
    return ", ".join(map(repr, names[:3])) + (f" and {rest} more" if rest > 0 else "")
