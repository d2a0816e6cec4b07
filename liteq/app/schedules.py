"""`app.schedules`: the entries of beat. Those of the configuration, and any that are added while it runs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import orjson

from liteq.app.discovery import own_tasks
from liteq.app.lazy_arguments import has_lazy, marked, worked_out
from liteq.canvas import Signature
from liteq.clock import from_ms, to_ms
from liteq.context import App
from liteq.exceptions import ImproperlyConfigured, LiteqError, closest
from liteq.message import Batch, new_id
from liteq.policy.overlap import Rules
from liteq.routing.routes import queue_name
from liteq.schedules import BaseSchedule, NeverDue, from_document, maybe_schedule, to_document
from liteq.schedules import schedule as interval
from liteq.sending.compile import compile_signature
from liteq.sending.options import OF_A_CALL, check_options
from liteq.sending.publish_signals import announce_sent
from liteq.serialization import decode, encode
from liteq.storage.operating.audit import Actor
from liteq.storage.sending.periodic import Entry, ScheduleRecord
from liteq.utils.durations import LONGEST_S, numeric_s
from liteq.utils.misspelt import nearest, unexpected

__all__ = ["Periodic", "check_entry", "due_ms", "in_ms", "key_of", "run_id", "unsent"]

logger = logging.getLogger("liteq.app")

AT_ONCE = 500  # runs of a backfill in one transaction
MOST_TIMES = 10_000  # of one backfill
MICROSECOND = timedelta(microseconds=1)
SHORTEST_S = 0.001  # the file counts in ms: what is shorter would be due again at once, for ever
RUNS = UUID("5c1d2a39-6d14-5a6e-9a55-0c8a4ed7d1f3")  # the namespace of the ids of runs
CANVAS = frozenset({"celery.chain", "celery.group", "celery.chord", "celery.chunks"})
OF_AN_ENTRY = frozenset(
    {"task", "schedule", "args", "kwargs", "options", "relative", "name", "subtask_type", "immutable"}
    | {*Rules._fields}
    | {"app", "last_run_at", "total_run_count"}  # of Celery's entries
)


def run_id(name: str, at_ms: int) -> str:
    """The id of the message by which the entry `name` runs that was due at a time: the same from every sender."""
    return str(uuid5(RUNS, f"{name}\n{at_ms}"))


def in_ms(due: datetime) -> int:
    """A due time in ms since the epoch, as the file has it. Rounded down, it would lie before itself and come twice."""
    return to_ms(due.astimezone(UTC) + timedelta(microseconds=999))


def due_ms(schedule: BaseSchedule, after: datetime) -> int | None:
    """When `schedule` is next due after a time, in ms since the epoch; None when it never will be."""
    try:
        return in_ms(schedule.next_after(after.astimezone(UTC)))
    except NeverDue:
        return None


def key_of(text: str, entry: Mapping[str, Any], earlier: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The key of an entry without a name: `text`, numbered where another call reads alike, as hidden arguments do.

    Logs a warning where it takes the place of an entry of `earlier` that has another schedule or other options.
    """
    taken, key, n = dict(earlier), text, 1
    while (there := taken.get(key)) is not None:
        if (there["args"], there["kwargs"]) == (entry["args"], entry["kwargs"]):
            if (there["schedule"], there["options"]) != (entry["schedule"], entry["options"]):
                logger.warning(
                    "beat: %s by %s takes the place of the same call by %s: give each a name, add_periodic_task(name=)",
                    key, entry["schedule"], there["schedule"],
                )  # fmt: skip
            break
        n += 1
        key = f"{text} ({n})"
    return key


def check_entry(name: str, config: Mapping[str, Any]) -> None:
    """Raises ImproperlyConfigured for an entry that lacks a key, has an unknown one, or could not be sent by time."""
    if unknown := config.keys() - OF_AN_ENTRY:
        raise ImproperlyConfigured(str(unexpected(f"beat_schedule: the entry {name!r}", unknown, OF_AN_ENTRY)))
    if "task" not in config or "schedule" not in config:
        raise ImproperlyConfigured(f"beat_schedule: the entry {name!r} needs a `task` and a `schedule`")
    if (config.get("options") or {}).get("replicated"):
        raise ImproperlyConfigured(f"beat_schedule: the entry {name!r} cannot be `replicated`: beat waits for no copy")
    given = config["schedule"]
    if not hasattr(given, "is_due"):
        try:
            given = numeric_s(given, "the schedule")
        except (TypeError, ValueError):
            raise ImproperlyConfigured(
                f"beat_schedule: the schedule of {name!r} is seconds, a timedelta or crontab(...), or a span as '10m', "
                f"not {given!r}"
            ) from None
    every = given.run_every if isinstance(given, interval) else given
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if isinstance(seconds, (int, float)) and not SHORTEST_S <= seconds < LONGEST_S:
        raise ImproperlyConfigured(
            f"beat_schedule: {name!r} is to be sent every {seconds:g} s: write from {SHORTEST_S} to {LONGEST_S:,} s"
        )


def unsent(app: App, limit: int = 100) -> list[ScheduleRecord]:
    """Up to `limit` entries that are due and that a beat would send, the oldest first; none that waits for its turn."""
    return [one for one in app.storage.schedules.due(limit)[0] if not _waits(app, one)]


def _waits(app: App, record: ScheduleRecord) -> bool:
    try:
        waits = decode(record.signature).get("overlap") in {"queue", "latest"}
    except (LiteqError, AttributeError):  # sealed under a key that is not here, or of another program's making
        return False
    last = app.storage.reader.find(record.last_id) if waits and record.last_id is not None else None
    return last is not None and not last.has_ended


class Periodic:
    """The entries that beat sends for one app."""

    def __init__(self, app: App) -> None:
        self.app = app

    # -- for people

    def all(self) -> list[ScheduleRecord]:
        """Every entry in the file, by name, with when it ran last and is due next."""
        return list(self.app.storage.schedules.all())

    def add(
        self,
        name: str,
        schedule: Any,
        task: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        overlap: str = "allow",
        catch_up: str | None = None,
        catch_up_within: float | None = None,
        enabled: bool = True,
        **options: Any,
    ) -> None:
        """Have beat send `task`, a task or a workflow, by `schedule` from now on; an entry of that name is replaced.

        It is in the file, not in the configuration, and stays until it is removed. The ids of its runs come from the
        times for which they are sent.

        `overlap`: at a time when its last run is unfinished, "allow" starts a run all the same, "skip" passes the time
        over, "queue" starts it once the last one has ended, "latest" one for all that have waited so, "cancel" cancels
        the last one. `catch_up`: of the times that it missed while no beat ran, "one" makes up one, "skip" none, "all"
        each; None: the setting `beat_catch_up` says. `catch_up_within`: of a crontab, times that are older than so many
        seconds are not made up; None: `beat_cron_starting_deadline` says. `enabled`: False has it paused from the
        first, and pauses one that is there; True lets a pause stand.

        Raises ImproperlyConfigured for a schedule of a class of one's own, which other programs could not compute, and
        for an id; TypeError for arguments that a workflow does not take; WorkflowError for an option of start() alone.
        """
        config = {"schedule": schedule, "args": args, "kwargs": dict(kwargs or {}), "options": options}
        config |= {"overlap": overlap, "catch_up": catch_up, "catch_up_within": catch_up_within}
        if (asked := getattr(task, "asked", None)) is not None:  # of a workflow: what its `options()` say
            if (own := asked.id) is not None:
                raise ImproperlyConfigured(f"the entry {name!r}: its runs' ids come from times; leave id={own!r} out")
            task = task.signature()
        if isinstance(task, Signature):
            config |= {**task, "args": (*task.args, *args), "kwargs": {**task.kwargs, **(kwargs or {})}}
            config["options"] = {**task.options, **options}
        else:
            config["task"] = getattr(task, "name", task)
        known: Any = self.app.tasks.get(config["task"])
        if getattr(known, "is_workflow", False):
            known.check_arguments(config["args"], config["kwargs"])
        entry, made = self.entry(name, config)
        if orjson.loads(entry.schedule)["kind"] == "custom":
            raise ImproperlyConfigured(f"{made!r} cannot be kept in the file: put this entry into beat_schedule")
        self.app.storage.schedules.put([entry._replace(enabled=enabled)])
        if doubt := self.doubt(entry):
            logger.warning("%s", doubt)

    def doubt(self, entry: Entry | ScheduleRecord) -> str:
        """A sentence on the tasks that `entry` sends and this app does not know; "" where it knows all, or has none.

        It may be right: a worker of another program may know them.
        """
        known = own_tasks(self.app)
        unknown = [name for name in _names_in(decode(entry.signature)) if self.app.tasks.find(name) is None]
        if not unknown or not known:
            return ""
        near = closest(unknown[0], known)
        return f"the entry {entry.name!r} sends {unknown[0]!r}, a task that this app does not know (nearest: {near})"

    def remove(self, name: str) -> bool:
        """Delete an entry; whether there was one. One of the configuration comes back when beat starts."""
        return bool(self.app.storage.schedules.delete(name))

    def pause(self, name: str, *, by: Actor | None = None, queue: str | None = None) -> None:
        """Let no run of `name` begin until `resume`, also across restarts. Raises KeyError for an unknown name.

        `by`: noted in the audit, with the `queue` of its runs; so of `resume` and `run_now`.
        """
        record = self._find(name)
        self.app.storage.schedules.enable(name, enabled=False, next_due_ms=record.next_due_ms, by=by, queue=queue)

    def resume(self, name: str, *, by: Actor | None = None, queue: str | None = None) -> None:
        """Let `name` run again, from its next time on (by its own `is_due`, if any); missed runs are not made up.

        Raises KeyError, and ImproperlyConfigured where its next time is only known to another program.
        """
        record = self._find(name)
        if not record.enabled:
            schedule, now = self._schedule(record), self._now()
            next_ms = in_ms(BaseSchedule.next_after(schedule, now)) if schedule.is_asked else due_ms(schedule, now)
            self.app.storage.schedules.enable(name, enabled=True, next_due_ms=next_ms, by=by, queue=queue)

    def run_now(self, name: str, *, by: Actor | None = None, queue: str | None = None) -> Any:
        """Send a run of `name` at once, paused or not; its result. When it is due next stays as it was.

        Raises KeyError when there is no such entry.
        """
        record = self._find(name)
        batch, id_ = self.batch(record, new_id())
        self.app.storage.schedules.run_now(name, batch, last_id=id_, by=by, queue=queue)
        announce_sent(self.app, batch.messages)
        return self.app.AsyncResult(id_)

    def backfill(self, name: str, start: datetime, end: datetime) -> list[Any]:
        """Send a run of `name` for each time of its schedule from `start` up to `end`, both aware; all, in order.

        A workflow's are `Run`s, a task's AsyncResults. Their ids come from the times, so a time that was sent already,
        by beat or before, is not sent again: its run is among them. They are sent at once, whatever `overlap` says.
        Raises KeyError for an unknown name, ValueError for a naive time, an end before its start, and more than
        10,000 times.
        """
        record = self._find(name)
        ids = [run_id(name, at) for at in self._times(record, start, end)]
        if orjson.loads(record.schedule).get("kind") != "lazy" and decode(record.signature).get("subtask_type"):
            raise ImproperlyConfigured(f"{name!r} sends a canvas, whose ids do not come from a time: send it yourself")
        for n in range(0, len(ids), AT_ONCE):
            batch = Batch([one for id_ in ids[n : n + AT_ONCE] for one in self.batch(record, id_)[0].messages])
            self.app.storage.enqueue(batch)
            announce_sent(self.app, batch.messages)
        task = self.app.tasks.find(decode(record.signature)["task"])
        handle = self.app.Run if getattr(task, "is_workflow", False) else self.app.AsyncResult
        return [handle(id_) for id_ in ids]

    def _times(self, record: ScheduleRecord, start: datetime, end: datetime) -> list[int]:
        """The times of an entry from `start` up to `end`, in ms."""
        for what, moment in (("start", start), ("end", end)):
            if not isinstance(moment, datetime):
                raise TypeError(f"backfill: {what} is a datetime with a time zone, not {moment!r}")
            if moment.tzinfo is None:
                raise ValueError(f"backfill: {what} has no time zone: {moment!r}; say datetime(..., tzinfo=UTC)")
        if end < start:
            raise ValueError(f"backfill: the end, {end.isoformat()}, is before the start, {start.isoformat()}")
        schedule = self._schedule(record)
        found: list[int] = []
        due = due_ms(schedule, start - MICROSECOND)
        while due is not None and due <= to_ms(end.astimezone(UTC)):
            if len(found) == MOST_TIMES:
                raise ValueError(f"backfill: {record.name!r} has more than {MOST_TIMES:,} times there: take a part")
            found.append(due)
            due = due_ms(schedule, from_ms(due))
        return found

    def _schedule(self, record: ScheduleRecord) -> BaseSchedule:
        """The schedule of an entry. Raises ImproperlyConfigured where only another program can compute it."""
        document = orjson.loads(record.schedule)
        document = document["schedule"] if document.get("kind") == "lazy" else document  # its times are not lazy
        own = self._own(record) if document.get("kind") == "custom" else None
        return from_document(document) if own is None else own[1]

    def _own(self, record: ScheduleRecord) -> tuple[Mapping[str, Any], BaseSchedule] | None:
        """The entry of this app's configuration that `record` was made of, and its schedule; None where none was."""
        self.app.finalize()
        config = self.app.conf.beat_schedule.get(record.name)
        if config is None:
            return None
        entry, schedule = self.entry(record.name, config)
        return (config, schedule) if entry.source == record.source else None

    def _find(self, name: str) -> ScheduleRecord:
        record: ScheduleRecord | None = self.app.storage.schedules.find(name)
        if record is None:
            near = nearest(name, [one.name for one in self.app.storage.schedules.all()])
            meant = f"the nearest name is {near!r}" if near else "`liteq schedules list` shows what there is"
            raise KeyError(f"there is no schedule {name!r}; {meant}")
        return record

    def _now(self) -> datetime:
        return from_ms(self.app.clock.now_ms())

    # -- between configuration, rows and messages

    @property
    def owner(self) -> str:
        """Under which name the entries of this app's configuration are in the file."""
        return self.app.main or "__main__"

    def configured(self) -> list[tuple[Entry, BaseSchedule]]:
        """The entries of `beat_schedule`. Raises ImproperlyConfigured, which names the entry that is wrong."""
        self.app.finalize()  # on_after_finalize is where many call add_periodic_task
        return [self.entry(str(name), config) for name, config in self.app.conf.beat_schedule.items()]

    def entry(self, name: str, config: Mapping[str, Any]) -> tuple[Entry, BaseSchedule]:
        """An entry of the configuration as a row, with its schedule."""
        check_entry(name, config)
        options = config.get("options") or {}
        try:
            if not options.keys() <= OF_A_CALL:
                task = getattr(config["task"], "name", config["task"])
                check_options(self.app, task, config.get("args"), config.get("kwargs"), options)
        except TypeError as exc:
            raise ImproperlyConfigured(f"beat_schedule: the entry {name!r}: {exc}") from None
        schedule: BaseSchedule = maybe_schedule(config["schedule"], bool(config.get("relative")), app=self.app)
        described = to_document(schedule)
        if has_lazy(config):  # of a kind that other programs do not know: they leave the entry to this one
            described = {"kind": "lazy", "schedule": described}
        document = encode(described, what=f"the schedule of {name!r}")
        signature = encode(self._signature(config), what=f"the entry {name!r} of beat_schedule")
        source = hashlib.sha256(document + b"\n" + signature).hexdigest()[:32]
        first_ms = to_ms(self._now()) if schedule.is_asked else due_ms(schedule, self._now())
        return Entry(name, source, document, signature, first_ms), schedule

    @staticmethod
    def _signature(config: Mapping[str, Any]) -> dict[str, Any]:
        task = getattr(config["task"], "name", config["task"])
        rules = Rules.of(config, str(config.get("name") or task))
        options = {key: _plain(key, value) for key, value in (config.get("options") or {}).items()}
        subtask_type = config.get("subtask_type") or (task.removeprefix("celery.") if task in CANVAS else None)
        if rules.overlap != "allow" and subtask_type in {"group", "chunks"}:
            raise ImproperlyConfigured(
                f"overlap={rules.overlap!r} asks whether the last run is unfinished, which one id does not tell of a "
                "group: give it a body (a chord), or write a workflow"
            )
        return {
            "task": task,
            "args": [marked(value) for value in config.get("args") or ()],
            "kwargs": {key: marked(value) for key, value in (config.get("kwargs") or {}).items()},
            "options": options,
            "subtask_type": subtask_type,
            "immutable": bool(config.get("immutable", False)),
            **rules.stored(),
        }

    def batch(
        self, record: ScheduleRecord, message_id: str, signature: Mapping[str, Any] | None = None
    ) -> tuple[Batch, str]:
        """The rows of one run of an entry, and the id of its result. A plain task has the id that is given.

        `signature`: the call to send in place of the entry's own.
        """
        described = decode(record.signature) if signature is None else {**signature}
        described = {key: value for key, value in described.items() if key not in Rules._fields}
        if orjson.loads(record.schedule).get("kind") == "lazy":
            described["args"], described["kwargs"] = self._worked_out(record)
        self.app.tasks.find(described.get("task", ""))  # a flow's workflow is registered when it is first asked for
        sig = Signature.from_dict(described, app=self.app)
        over = {} if sig.get("subtask_type") else {"task_id": message_id}
        compiled = compile_signature(sig, self.app.publisher, options=over)
        return compiled.batch, compiled.node.id

    def _worked_out(self, record: ScheduleRecord) -> tuple[list[Any], dict[str, Any]]:
        own = self._own(record)
        if own is None:
            raise ImproperlyConfigured(
                f"{record.name!r} has arguments that are worked out when it is sent, by a function of the program in "
                "whose beat_schedule it stands: only that one can send it"
            )
        return worked_out(own[0])


def _names_in(signature: Any) -> Iterator[str]:
    """The names of the tasks in a signature that is a dict: its own, and those of a canvas's parts."""
    if isinstance(signature, (list, tuple)):
        for one in signature:
            yield from _names_in(one)
    elif isinstance(signature, Mapping) and isinstance(signature.get("task"), str):
        if not signature.get("subtask_type"):
            yield signature["task"]
            return
        kwargs = signature.get("kwargs") or {}
        yield from _names_in([kwargs.get(part) for part in ("tasks", "header", "body", "task")])


def _plain(key: str, value: Any) -> Any:
    """An option as a row can hold it."""
    if key == "queue":
        return queue_name(value)
    return value.total_seconds() if isinstance(value, timedelta) else value
