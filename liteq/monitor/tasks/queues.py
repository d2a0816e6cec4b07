"""Queues as documents: how much waits, how late, how fast it comes and goes, which workers take from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from liteq.context import App
from liteq.context.living import living, takes_from
from liteq.monitor.access.keys import Bearer, shown_key
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.tasks.pace import Pace, pace
from liteq.storage.claiming.pauses import Pause
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.reading.holding import FAIR
from liteq.storage.reading.overview import COUNTED, QUEUES, Bounded, Overview, QueueLook
from liteq.utils.text import times

__all__ = ["count", "pause_document", "queue", "queue_documents", "queues"]

HEAD: Final = 5_000  # messages at the head of a queue whose tasks are counted
KEYS: Final = 50  # that take turns, of one queue
PER_KEY: Final = 1_000  # messages of each that are counted
NOTHING: Final = Bounded(0)


def count(found: Bounded) -> dict[str, Any]:
    """A number as a document: {"n", "exact"}; not exact: there are at least so many."""
    return {"n": found.n, "exact": found.exact}


def queues(app: App, see: Sight = ALL) -> dict[str, Any]:
    """The queues that have messages, workers, or a pause: {"items", "next", "note"}."""
    look = app.storage.views.overview()
    found = queue_documents(app, look, living(app), pace(app, see), see)
    note = f"the first {QUEUES} with messages" if len(look.queues) >= QUEUES else ""
    return {"items": found, "next": None, "note": note}


def queue_documents(
    app: App, look: Overview, alive: Sequence[WorkerRecord], now: Pace, see: Sight
) -> list[dict[str, Any]]:
    """One document a queue, by name."""
    known = {one.name: one for one in look.queues}
    told = {str(name) for worker in alive for name in worker.facts.get("queues") or ()}
    paused = app.storage.queues.paused()
    names = sorted({*known, *told, *paused.names()})
    return [
        _document(app, name, known.get(name), _takers(alive, name), paused.of(name), now)
        for name in names
        if see.sees(name)
    ]


def _takers(alive: Sequence[WorkerRecord], name: str) -> list[WorkerRecord]:
    return [one for one in alive if takes_from(one, name, quiet=True)]


def _document(
    app: App, name: str, look: QueueLook | None, takers: Sequence[WorkerRecord], pause: Pause | None, now: Pace
) -> dict[str, Any]:
    look = look or QueueLook(name, NOTHING, NOTHING, 0, None)
    head_s = None if look.head_ms is None else max(0.0, (app.clock.now_ms() - look.head_ms) / 1000)
    out_s = now.out_s.get(name, 0.0)
    in_s = _in_s(app, name, look.waiting, out_s)
    empties = in_s is not None and out_s > in_s and look.waiting.exact
    return {
        "name": name,
        "waiting": count(look.waiting),
        "running": look.running,
        "held": count(look.held),
        "head_wait_s": head_s,
        "in_s": in_s,
        "out_s": out_s,
        "empty_in_s": look.waiting.n / (out_s - in_s) if empties and in_s is not None else None,
        "slots": sum(_slots(worker) for worker in takers),
        "workers": len(takers),
        "worker_names": sorted(worker.name for worker in takers),
        "paused": None if pause is None else pause_document(pause),
    }


def _in_s(app: App, name: str, waiting: Bounded, out_s: float) -> float | None:
    """How many come a second: as many as go, and by how many more wait than a minute ago; None where none counts it."""
    if not waiting.exact:
        return None
    now_ms = app.clock.now_ms()
    before = app.storage.stats.samples(f"waiting:{name}", 120)
    if not before or before[0][1] >= COUNTED:
        return None
    minute, n = before[0]
    return max(0.0, out_s + (waiting.n - n) / max(60.0, now_ms / 1000 - minute * 60))


def pause_document(pause: Pause) -> dict[str, Any]:
    """A pause of a queue: by whom, why, since when and until when."""
    return {"by": pause.actor, "reason": pause.reason, **times(since=pause.since_ms, until=pause.until_ms)}


def _slots(worker: WorkerRecord) -> int:
    slots = worker.facts.get("concurrency")
    return slots if isinstance(slots, int) else 0


def queue(app: App, name: str, see: Sight = ALL) -> dict[str, Any] | None:
    """One queue: the fields of a list, `tasks`, which of them wait at its head, and `turns`; None outside of `see`."""
    if not see.sees(name):
        return None
    now = pace(app, see)
    found = {one["name"]: one for one in queue_documents(app, app.storage.views.overview(), living(app), now, see)}
    document = found.get(name) or _document(app, name, None, [], None, now)
    return {**document, **_at_the_head(app, name), "turns": turns(app, name, see)}


def _at_the_head(app: App, name: str) -> dict[str, Any]:
    """The tasks of the messages that are claimed next, each with its number; how many were looked at."""
    rows = app.storage.views.seen("pending of", limit=HEAD, given={"queue": name})
    counts = Counter[str](task for _, _, task, *_ in rows)
    items = [{"task": task, "n": n} for task, n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    return {"tasks": items, "looked_at": len(rows)}


def turns(app: App, name: str, see: Sight = ALL) -> list[dict[str, Any]]:
    """The fair keys with messages that wait for their turn in a queue, 50 at most: {"key", "held", "head_wait_s"}."""
    found = app.storage.views.turns(name, keys=KEYS, limit=PER_KEY)
    now_ms = app.clock.now_ms()
    return [
        {
            "key": shown_key(app, line.removeprefix(f"{FAIR}{name}:"), see, Bearer(one.head, one.head_task)),
            "held": count(one.n),
            "head": one.head,
            "head_wait_s": max(0.0, (now_ms - one.head_ms) / 1000),
        }
        for line, one in found
    ]
