"""Reading the facts of a scrape, out of the documents that pages and terminals show as well."""

from __future__ import annotations

from collections import Counter
from typing import Any

from liteq._version import __version__
from liteq.app.schedules import unsent
from liteq.context import App
from liteq.exceptions import ReadTimeout
from liteq.metrics.facts import Facts, LimitFacts, QueueFacts, Sum, WorkerFacts
from liteq.monitor.file import file
from liteq.monitor.workers import workers
from liteq.states import State
from liteq.storage.reading.overview import COUNTED, Overview
from liteq.storage.statistics.stats import BOUNDS_S, CHILD_EXIT, MEMO, REAPED, STEP, WRITE_WAIT, Stat

__all__ = ["EXACT", "read"]

EXACT = 1_000_000  # messages of one kind are counted up to here: a tenth of a second of processor time
LIMITS = 100  # of the code, that are told of
SCHEDULES = 200  # entries that are late, and told of


def read(app: App, *, per_worker: bool = False, limit: int = EXACT) -> Facts:
    """The facts of now. `per_worker`: workers by their whole names, where a machine's or a pod's is in them.

    `limit`: messages of one kind are counted up to here; less where that takes longer than a read may. Raises
    StorageError where the file cannot be read.
    """
    storage = app.storage
    seen, capped, counted_to = _overview(app, limit)
    totals = [_sum(stat) for stat in storage.stats.totals()]
    alive = workers(app)["items"]
    about = file(app)
    limits, whole = _limits(app)
    capped += [] if whole else ["liteq_limit_held"]
    sizes = {"file": about["size"], "wal": about["wal"], "free": about["free"], "disk_free": about["disk_free"]}
    return Facts(
        bounds=BOUNDS_S,
        sums=[one for one in totals if one.task],
        queues=_queues(app, seen, alive),
        states={state.value: count.n for state, count in seen.states.items() if state in SHOWN},
        capped=capped,
        workers=[_worker(app, one, per_worker=per_worker) for one in alive],
        schedules=_late(app),
        runs=storage.runs.by_name(),
        sizes={name: size for name, size in sizes.items() if isinstance(size, int)},
        warnings=len(about["warnings"]) + len(about["findings"]),
        versions=(__version__, str(about["sqlite"]), str(about["library"])),
        counted_to=counted_to,
        limits=limits,
        age_s=storage.driver.age_s() or 0.0,
        **_of_workers_turns(totals),
    )


# Finished ones are no more than retention leaves: their sums are `liteq_tasks_total`.
SHOWN = frozenset({State.SCHEDULED, State.BLOCKED, State.PENDING, State.HELD, State.LEASED, State.DEAD})


def _overview(app: App, limit: int) -> tuple[Overview, list[str], int]:
    """The counts, the metrics whose counts have an end before that of the messages, and how far they were counted."""
    try:
        seen = app.storage.views.overview(limit=limit)
    except ReadTimeout:  # a slow disk: less, in time
        limit = COUNTED
        seen = app.storage.views.overview(limit=limit)
    capped = []
    if not all(count.exact for state, count in seen.states.items() if state in SHOWN):
        capped.append("liteq_messages")
    if not all(one.waiting.exact and one.held.exact for one in seen.queues):
        capped.append("liteq_queue_messages")
    return seen, capped, limit


def _queues(app: App, seen: Overview, alive: list[dict[str, Any]]) -> list[QueueFacts]:
    now_ms = app.clock.now_ms()
    paused = app.storage.queues.paused()
    takers: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for one in alive:
        for queue in one["queues"] if one["state"] == "up" and not one["quiet"] else ():
            takers[queue] += 1
            slots[queue] += one["slots"] or 0
    looks = {one.name: one for one in seen.queues}
    found = []
    for name in sorted({*looks, *takers, *paused.names()}):
        look = looks.get(name)
        head_ms = None if look is None else look.head_ms
        found.append(
            QueueFacts(
                name,
                pending=0 if look is None else look.waiting.n,
                held=0 if look is None else look.held.n,
                head_wait_s=0.0 if head_ms is None else max(0.0, (now_ms - head_ms) / 1000),
                paused=paused.of(name) is not None,
                slots=slots[name],
                workers=takers[name],
            )
        )
    return found


def _limits(app: App) -> tuple[list[LimitFacts], bool]:
    """The limits that the code declares, and whether what each holds was counted to its end.

    Those that were set at run time are left out: they may be as many as there are customers, and bear their names.
    """
    views, now_ms = app.storage.views, app.clock.now_ms()
    rules, paused = views.limits(), set(views.paused_keys())
    declared = sorted(key for key, rule in rules.by_key.items() if rule.declared is not None)[:LIMITS]
    found, whole = [], True
    for key in declared:
        held, running = views.holding(key)
        whole = whole and all(one.n.exact for one in held)
        head_ms = min((one.head_ms for one in held), default=None)
        late_s = 0.0 if head_ms is None else max(0.0, (now_ms - head_ms) / 1000)
        most = rules.by_key[key].concurrent
        found.append(LimitFacts(key, running.n, sum(one.n.n for one in held), most, late_s, key in paused))
    return found, whole


def _worker(app: App, one: dict[str, Any], *, per_worker: bool) -> WorkerFacts:
    name = one["name"] if per_worker else one["name"].partition("@")[0]
    age_s = max(0.0, (app.clock.now_ms() - one["heartbeat"]) / 1000)
    return WorkerFacts(name, one["state"] == "up", one["busy"] or 0, one["slots"] or 0, age_s)


def _late(app: App) -> dict[str, float]:
    now_ms = app.clock.now_ms()
    due = unsent(app, SCHEDULES)
    late = {one.name: (now_ms - one.next_due_ms) / 1000 for one in due if one.next_due_ms is not None}
    return {**dict.fromkeys((one.name for one in app.storage.schedules.all()[:SCHEDULES]), 0.0), **late}


def _sum(stat: Stat) -> Sum:
    tally = stat.tally
    return Sum(
        stat.task, stat.queue, stat.outcome, stat.cause, tally.n, tally.run_us / 1e6, tally.wait_us / 1e6,
        tally.run, tally.wait,
    )  # fmt: skip


def _of_workers_turns(totals: list[Sum]) -> dict[str, Any]:
    """The sums of workers beside those of tasks: rows of no task, whose outcome says of what they are."""
    of = [one for one in totals if not one.task]
    waits = [one for one in of if one.outcome == WRITE_WAIT]
    return {
        "child_exits": {(one.queue, one.exception): one.n for one in of if one.outcome == CHILD_EXIT},
        "steps": {(one.queue, one.exception): one.n for one in of if one.outcome == STEP},
        "memo": {one.exception: one.n for one in of if one.outcome == MEMO},
        "leases_lost": sum(one.n for one in totals if one.outcome == "lost"),
        "reaped": sum(one.n for one in of if one.outcome == REAPED),
        "write_waits": waits[0] if waits else Sum("", "", WRITE_WAIT, "", 0),
    }
