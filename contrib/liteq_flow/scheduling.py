"""Flows by the clock: the lines of `schedule` as entries of beat, which are in the queue's file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from liteq.app.schedules import Periodic
from liteq.clock import from_ms
from liteq.context import App
from liteq.monitor.schedules import in_words
from liteq.schedules import from_document
from liteq.schedules.base import zone_of
from liteq.serialization import decode
from liteq.storage.sending.periodic import ScheduleRecord
from liteq_flow.crontab import schedule_of
from liteq_flow.errors import FlowRefused
from liteq_flow.installing import install
from liteq_flow.model import Flow, Problem
from liteq_flow.reader.params import checked
from liteq_flow.snapshot import Snapshot

__all__ = ["add", "can_be", "foreign", "listed", "remove"]

# While a run is unfinished, a time is passed over, waits, or the last one that waits counts.
OVERLAP = {"skip": "skip", "all": "queue", "latest": "latest"}


def can_be(snapshot: Snapshot, shown: str) -> None:
    """Raise FlowRefused for a flow without a schedule, or with a param that has to be given. `shown`: its file."""
    flow = snapshot.whole.flow
    if not flow.schedule:
        what = "the flow has no `schedule`: write a line of crontab"
        raise FlowRefused([Problem(shown, flow.line, "schedule", what)])
    try:
        checked(flow, {})
    except FlowRefused as exc:
        what = "; ".join(f"{one.path}: {one.what}" for one in exc.problems)
        raise FlowRefused([Problem(shown, flow.line, "params", f"a schedule gives none: {what}")]) from None


def foreign(app: App, snapshot: Snapshot) -> str | None:
    """An entry of beat that is no flow's, and whose name `add` would take; None where there is none."""
    names = _entries(snapshot.whole.flow)
    return next((one.name for one in app.storage.schedules.all() if one.name in names and not _signature(one)), None)


def _entries(flow: Flow) -> list[str]:
    """The names of a flow's entries: one for each line of its schedule."""
    return [flow.name, *(f"{flow.name}#{number}" for number in range(2, len(flow.schedule) + 1))]


def add(app: App, snapshot: Snapshot) -> str:
    """Have beat start the flow by its lines of `schedule`, as the file is now; its name.

    What was there of a flow of this name is replaced. `can_be` says before whether it can be.
    """
    flow = snapshot.whole.flow
    params = checked(flow, {})
    install(app)
    names = _entries(flow)
    for record in _of(app, flow.name):
        if record.name not in names:
            app.storage.schedules.delete(record.name)
    for name, line in zip(names, flow.schedule, strict=True):
        made, zone = schedule_of(line)
        if zone is not None:
            made.zone = zone_of(zone)
        options: dict[str, Any] = {"tags": [f"flow:{flow.name}", *flow.labels]}
        if flow.queue:
            options["queue"] = flow.queue
        if flow.timeout_s is not None:
            options["timeout"] = flow.timeout_s
        arguments, overlap = _arguments(app, snapshot, flow, params), OVERLAP[flow.overlap_policy]
        Periodic(app).add(
            name, made, "liteq.flow", arguments, overlap=overlap, catch_up=_catch_up(flow),
            catch_up_within=flow.catchup_window_s, **options
        )  # fmt: skip
    return flow.name


def _arguments(app: App, snapshot: Snapshot, flow: Flow, params: dict[str, Any]) -> list[Any]:
    """Those of `starting.start`."""
    queue = flow.queue or app.conf.task_default_queue
    return [{"file": snapshot.file, "texts": dict(snapshot.texts)}, flow.name, params, queue]


def _catch_up(flow: Flow) -> str:
    """Make up for what was missed only where the flow has a `catchup_window`."""
    if flow.catchup_window_s is None:
        return "skip"
    return "one" if flow.overlap_policy == "latest" else "all"


def listed(app: App) -> list[dict[str, Any]]:
    """The scheduled flows: name, schedule, next (in its zone), file."""
    found: dict[str, dict[str, Any]] = {}
    nexts: dict[str, datetime | None] = {}
    for record in app.storage.schedules.all():
        signature = _signature(record)
        if signature is None:
            continue
        document, name = signature["args"][0], signature["args"][1]
        line, due = in_words(record.schedule), _next(record)
        one = found.setdefault(name, {"name": name, "schedule": line, "next": None, "file": document["file"]})
        if one["schedule"] != line:
            one["schedule"] += f", {line}"
        earlier = nexts.get(name)
        nexts[name] = earlier if due is None or (earlier is not None and earlier <= due) else due
        one["next"] = None if nexts[name] is None else nexts[name].isoformat(timespec="seconds")  # type: ignore[union-attr]
    return sorted(found.values(), key=lambda one: str(one["name"]))


def remove(app: App, name: str) -> bool:
    """Take a flow out of the schedule; whether it was there. Its runs go on."""
    records = list(_of(app, name))
    for record in records:
        app.storage.schedules.delete(record.name)
    return bool(records)


def _of(app: App, name: str) -> Iterator[ScheduleRecord]:
    for record in app.storage.schedules.all():
        signature = _signature(record)
        if signature is not None and signature["args"][1] == name:
            yield record


def _signature(record: ScheduleRecord) -> dict[str, Any] | None:
    signature: dict[str, Any] = decode(record.signature)
    return signature if signature.get("task") == "liteq.flow" and len(signature.get("args") or ()) == 4 else None


def _next(record: ScheduleRecord) -> datetime | None:
    if record.next_due_ms is None or not record.enabled:
        return None
    return from_ms(record.next_due_ms).astimezone(from_document(orjson.loads(record.schedule)).tz)
