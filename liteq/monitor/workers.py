"""Workers, for a reader: those that live, and those that fell silent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from liteq.context import App
from liteq.context.identity import boot_id
from liteq.context.living import LATE_MS, late_ms, living
from liteq.monitor.access.sight import ALL, Sight
from liteq.storage.claiming.workers import WorkerRecord
from liteq.utils.names import is_built_in
from liteq.utils.text import iso_time

__all__ = [
    "GATEWAY",
    "LATE_MS",
    "OFFSET",
    "STAGE",
    "documents",
    "is_within",
    "late_ms",
    "living",
    "published",
    "worker",
    "workers",
]

GATEWAY = "gateway"  # in the facts of a gateway, which runs nothing: it lends messages to programs (edge/presence.py)
OFFSET = "clock_offset_s"  # in a worker's facts: how far its wall clock was ahead of the monotonic one at its last beat
# Likewise: "starting", "ready", "quiet", "full" (the disk is, so it claims nothing), "bare" (no process of its pool can
# be started) or "ending".
STAGE = "stage"
PUBLISHED = 500  # names of tasks; they are written at each heartbeat
OWN_COLUMNS = frozenset(
    {"queues", "globs", "weights", "strict", "quiet", "concurrency", "pool", "loadavg", "version", "python", "release"}
    | {"tasks"}
)


def documents(workers: Iterable[WorkerRecord]) -> list[dict[str, Any]]:
    """Workers as JSON objects: name, host, pid, leased, started, heartbeat, and what each tells of itself."""
    return [
        {
            "name": worker.name,
            "host": worker.host,
            "pid": worker.pid,
            "leased": worker.leased,
            "started": iso_time(worker.started_ms),
            "heartbeat": iso_time(worker.heartbeat_ms),
            **worker.facts,
        }
        for worker in workers
    ]


def workers(app: App, see: Sight = ALL) -> dict[str, Any]:
    """The workers that take from a queue that is seen, by name: `{items, next, note}`.

    `state` is "up", or "silent" for one that has left without a word: its heartbeat is late, or its process is gone.
    `quiet`: it claims nothing until it is woken. `queues`: those that are known of its `globs` among them. `weights`:
    of its queues and globs, where other than 1; `strict`: it takes from them in their order.
    """
    alive = {one.id for one in living(app)}
    seen = [one for one in app.storage.reader.workers() if _is_seen(one, see)]
    items = [_document(one, up=one.id in alive, see=see) for one in seen]
    return {"items": sorted(items, key=lambda one: (one["state"] == "up", one["name"])), "next": None, "note": None}


def worker(app: App, name: str, see: Sight = ALL) -> dict[str, Any] | None:
    """The worker `name`, the newest of that name; None where there is none, or none that is seen."""
    found = [one for one in app.storage.reader.workers() if one.name == name and _is_seen(one, see)]
    if not found:
        return None
    newest = max(found, key=lambda one: one.heartbeat_ms)
    alive = {one.id for one in living(app)}
    document = _document(newest, up=newest.id in alive, see=see)
    facts = newest.facts
    hidden = see.queues is not None  # what it does for other queues is not for this viewer
    tells = {key: value for key, value in facts.items() if key not in OWN_COLUMNS}
    return {**document, "tasks": None if hidden else facts.get("tasks"), "facts": {} if hidden else tells}


def is_within(app: App, name: str, see: Sight) -> bool:
    """Whether `see` covers each queue and glob of the workers called `name`: a command to them reaches no other."""
    found = [one for one in app.storage.reader.workers() if one.name == name]
    return all(see.covers(queue) for one in found for queue in (*_queues(one), *_globs(one)))


def published(tasks: Iterable[str]) -> list[str] | None:
    """The names of tasks as a worker tells them in its facts, without liteq's own; None where they are too many."""
    names = sorted(name for name in tasks if not is_built_in(name))
    return names if len(names) <= PUBLISHED else None


def _queues(one: WorkerRecord) -> list[str]:
    told = one.facts.get("queues")
    return [str(queue) for queue in told] if isinstance(told, list) else []


def _globs(one: WorkerRecord) -> list[str]:
    return [str(glob) for glob in one.facts.get("globs") or ()]


def _memory(one: WorkerRecord) -> int | None:
    """The bytes in memory of a worker's children, as the kernel tells; None for a worker of another machine."""
    pids = one.facts.get("pids")
    if not one.boot or one.boot != boot_id() or not isinstance(pids, list):
        return None
    pages = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):  # it has ended
            pages += int(Path(f"/proc/{int(pid)}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") if pages else None


def _is_seen(one: WorkerRecord, see: Sight) -> bool:
    return see.queues is None or any(map(see.sees, _queues(one)))


def _document(one: WorkerRecord, *, up: bool, see: Sight) -> dict[str, Any]:
    facts = one.facts
    queues = [queue for queue in _queues(one) if see.sees(queue)]
    whole = see.queues is None or len(queues) == len(_queues(one))
    globs = _globs(one) if whole else []
    weights = facts.get("weights")
    weights = weights if isinstance(weights, dict) else {}
    slots, load = facts.get("concurrency"), facts.get("loadavg")
    return {
        "name": one.name,
        "host": one.host,
        "pid": one.pid,
        "state": "up" if up else "silent",
        "started": one.started_ms,
        "started_iso": iso_time(one.started_ms),
        "heartbeat": one.heartbeat_ms,
        "heartbeat_iso": iso_time(one.heartbeat_ms),
        "queues": queues,
        "globs": globs,
        "weights": {name: weights[name] for name in (*queues, *globs) if isinstance(weights.get(name), int)},
        "strict": bool(facts.get("strict")),
        "busy": one.leased if whole else None,
        "slots": slots if isinstance(slots, int) else None,
        "pool": facts.get("pool"),
        "memory": _memory(one) if whole and up else None,
        "load": load[0] if isinstance(load, list) and load else None,
        "version": facts.get("version"),
        "python": facts.get("python"),
        "release": facts.get("release"),
        "quiet": bool(facts.get("quiet")),
    }
