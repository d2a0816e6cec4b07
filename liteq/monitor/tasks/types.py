"""A task by its name: how its runs ended, how long they took, what limits it, what sends it, how it is called."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from liteq.context import App
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.tasks.failures import failures
from liteq.monitor.tasks.search import quoted
from liteq.monitor.tasks.tasks import tasks
from liteq.storage.statistics.stats import Stat, Tally, quantile

__all__ = ["task_type"]

RANGE_S: Final = 86_400.0
SENDERS: Final = 100  # of its newest messages that are looked at for what sent them
SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ENDS: Final = frozenset({"succeeded", "failed", "crashed", "rejected", "expired", "cancelled", "retried"})
FAILED: Final = frozenset({"failed", "crashed", "rejected"})
LIMITS: Final = (
    "rate_limit", "global_rate_limit", "time_limit", "soft_time_limit", "max_retries", "default_retry_delay",
    "max_concurrency",
)  # fmt: skip


def task_type(app: App, name: str, see: Sight = ALL) -> dict[str, Any] | None:
    """A task: None where this process does not know it and it was never counted, or all of it lies outside of `see`.

    `name known queues total{OUTCOME: n} day{OUTCOME: n} failed_share run{p50, p95, p99} wait{p50, p95, p99} causes
    senders{TASK: n} limits signature doc`. `total` is exact, of all since the file was made; `day`, the share that
    failed and the times, in seconds, are of the last 24 hours.
    """
    known = app.tasks.find(name)
    totals = [row for row in app.storage.stats.totals() if row.task == name and see.sees(row.queue)]
    if not totals and (known is None or see.queues is not None):
        return None
    day = [row for row in app.storage.stats.series(RANGE_S, task=name) if see.sees(row.queue)]
    ended = _by_outcome(day)
    runs = sum(ended[outcome] for outcome in ("succeeded", *FAILED))
    return {
        "name": name,
        "known": known is not None,
        "queues": sorted({row.queue for row in totals}),
        "total": dict(_by_outcome(totals)),
        "day": dict(ended),
        "failed_share": sum(ended[outcome] for outcome in FAILED) / runs if runs else None,
        **_times(row for row in day if row.outcome in ENDS),
        "causes": failures(app, see, task=name)["items"],
        "senders": _senders(app, name, see),
        **_code(app, known, name),
    }


def _by_outcome(rows: Iterable[Stat]) -> Counter[str]:
    found = Counter[str]()
    for row in rows:
        found[row.outcome] += row.tally.n
    return found


def _times(rows: Iterable[Stat]) -> dict[str, Any]:
    total = Tally()
    for row in rows:
        total.add(row.tally)
    return {
        kind: {name: quantile(buckets, share) for name, share in SHARES.items()}
        for kind, buckets in (("run", total.run), ("wait", total.wait))
    }


def _senders(app: App, name: str, see: Sight) -> dict[str, int]:
    """The tasks that sent the newest of its messages, with how many each."""
    parents = [one["parent_id"] for one in tasks(app, f"task:{quoted(name)}", limit=SENDERS, see=see)["items"]]
    found = app.storage.reader.find_many([id_ for id_ in dict.fromkeys(parents) if id_ is not None])
    senders = Counter(found[id_].task for id_ in parents if id_ in found and see.sees(found[id_].queue))
    return dict(senders.most_common(10))


def _code(app: App, known: Any, name: str) -> dict[str, Any]:
    """The facts that the code has: its limits, its signature, the first line of its docstring."""
    if known is None:
        return {"limits": {}, "signature": None, "doc": ""}
    rate = app.storage.limits.get(f"task:{name}").rate
    limits = {limit: value for limit in LIMITS if (value := getattr(known, limit, None)) is not None}
    if rate is not None:
        limits["global_rate_limit"] = rate
    try:
        signature = str(inspect.signature(known.run))
    except (TypeError, ValueError):
        signature = None
    doc = (inspect.getdoc(known.run) or "").strip().partition("\n")[0]
    return {"limits": limits, "signature": signature, "doc": doc}
