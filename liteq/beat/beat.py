"""Beat: turns due schedule rows into messages.

Any number of beats may run over one file: a run is sent and its entry moved on in one transaction, by the beat
that comes first. So it needs no lock, no file of its own, and no leader.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, Protocol

import orjson

from liteq import signals as announce
from liteq.app.schedules import in_ms, run_id
from liteq.beat.catch_up import NO_LAST, Last, decide
from liteq.beat.entries import ScheduleEntry
from liteq.clock import from_ms
from liteq.context import App
from liteq.exceptions import CanvasConflict, CodecError, ImproperlyConfigured, StorageError
from liteq.execution.hushed import hush
from liteq.message import Batch
from liteq.policy.overlap import Rules
from liteq.schedules import BaseSchedule, NeverDue, from_document
from liteq.sending.publish_signals import announce_sent
from liteq.serialization import decode
from liteq.storage.sending.periodic import ScheduleRecord
from liteq.storage.storage import Storage
from liteq.utils.lines import Repeated

__all__ = ["Beat", "run_turns"]

logger = logging.getLogger("liteq.beat")

# An entry that another program adds, resumes or changes is noticed after this time; a clock that was set, too.
LONGEST_SLEEP_S = 5.0
LONGEST_WATCHED_S = 600.0  # of a beat that is told when somebody has written to the file
JUMP_S = 1.0  # the wall clock moved against the monotonic one by more: it was set
TROUBLE_PAUSE_S = 1.0  # between attempts while the storage refuses
TURN_PAUSE_S = 0.5  # between two looks at a run for whose end an entry waits
AT_ONCE = 100  # entries that are read together


class Turning(Protocol):
    """One that does what is due in its `turn`, and says when the next one is (monotonic seconds)."""

    due_at: float

    def turn(self) -> None: ...


def run_turns(beat: Turning, stop: threading.Event | None, on_turn: Callable[[], None], longest_s: float = inf) -> None:
    """Turn until `stop` is set, for ever where there is none.

    `on_turn` is called in each turn, and after `longest_s` seconds of the sleep between two.
    """
    stop = threading.Event() if stop is None else stop
    announce.beat_init.send(sender=beat)
    while not stop.is_set():
        beat.turn()
        on_turn()
        while not stop.wait(max(0.0, min(beat.due_at - time.monotonic(), longest_s))):
            if time.monotonic() >= beat.due_at:
                break
            on_turn()


class Beat:
    """Sends what is due of one app's file. `max_interval_s`: the longest sleep between two looks, 0 for 5 seconds.

    `patience_s`: how long it waits for the write lock, None for as long as any caller of the app. `is_watched`: its
    caller has it look when somebody has written to the file, or the clock was set, so it sleeps longer.

    Alone: `run(stop)`. Inside a worker: its loop calls `turn()` when `due_at` (monotonic seconds) has come.
    """

    def __init__(
        self,
        app: App,
        *,
        max_interval_s: float | None = None,
        patience_s: float | None = None,
        is_watched: bool = False,
    ) -> None:
        self.app = app
        self._patience_s = patience_s
        self._storage: Storage | None = None
        self.due_at = 0.0
        most_s = LONGEST_WATCHED_S if is_watched else LONGEST_SLEEP_S
        self._longest_s = min(max_interval_s or app.conf.beat_max_loop_interval or most_s, most_s)
        self._own: dict[str, tuple[str, BaseSchedule]] = {}  # by name: the hash of an entry, and its schedule
        self._made: dict[bytes, BaseSchedule] = {}
        self._passed_over: set[str] = set()
        self._waiting = False  # whether an entry waits for the end of its last run
        self._started = False
        self._report = Repeated(logger).report
        self._refused = False
        self._wall_offset_s: float | None = None  # at the last look

    @property
    def storage(self) -> Storage:
        """The app's file; where it has a patience of its own, opened once more."""
        if self._patience_s is None:
            return self.app.storage
        if self._storage is None:
            opened = self.app.open_storage(busy_timeout_s=self._patience_s)
            try:
                opened.migrate()
            except BaseException:
                opened.close()
                raise
            self._storage = opened
        return self._storage

    @property
    def has_started(self) -> bool:
        """Whether the file's entries are in line with the configuration."""
        return self._started

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring the file's entries in line with the configuration: new, changed, and no longer there."""
        hush(self.app.conf.payload_codec is not None)
        configured = self.app.schedules.configured()
        self._own = {entry.name: (entry.source, schedule) for entry, schedule in configured}
        gone = self.storage.schedules.synchronise(self.app.schedules.owner, [entry for entry, _ in configured])
        for name in gone:
            logger.info("beat: %s is not in the configuration any more, and is removed", name)
        for record in self.storage.schedules.all():
            if record.owner in {"", self.app.schedules.owner}:
                self._try(record, self._tell_doubt)
        self._started = True

    def go_on(self) -> None:
        """Begin, or go on after trouble: a file that knows no entry of this beat was made anew, and gets them again."""
        mine = self._own.keys()
        if not self._started or (mine and mine.isdisjoint(record.name for record in self.storage.schedules.all())):
            self.start()

    def _tell_doubt(self, record: ScheduleRecord) -> bool:
        doubt = self.app.schedules.doubt(record)
        if doubt:
            logger.warning("beat: %s", doubt)
        return not doubt

    def run(
        self, stop: threading.Event | None = None, on_turn: Callable[[], None] = lambda: None, longest_s: float = inf
    ) -> None:
        """Send what comes due until `stop` is set, for ever where there is none; for `on_turn` see `run_turns`.

        Raises ImproperlyConfigured for an entry that makes no sense.
        """
        run_turns(self, stop, on_turn, longest_s)

    def turn(self) -> None:
        """Send what is due, and set `due_at` to the next time to look. An unavailable storage is tried again."""
        try:
            if self._refused or not self._started:
                self.go_on()
            pause_s = self.tick()
        except StorageError as exc:
            self._refused = True
            self._report(logging.ERROR, f"beat: the queue cannot be used at the moment, trying again: {exc}")
            pause_s = TROUBLE_PAUSE_S
        else:
            if self._refused:
                self._refused = False
                logger.warning("beat: the queue can be used again: going on")
        self.due_at = time.monotonic() + pause_s

    def tick(self) -> float:
        """Send what is due now; the seconds until the next look."""
        self._watch_the_clock()
        self._waiting, passed_over = False, 0
        while True:
            records, next_ms = self.storage.schedules.due(AT_ONCE, skip=passed_over)
            handled = [record for record in records if self._try(record, self._handle)]
            if handled:
                return 0.0  # more may have come due meanwhile
            if len(records) < AT_ONCE:
                break
            passed_over += len(records)  # they stay due: behind them may be some for this beat
        most_s = min(self._longest_s, TURN_PAUSE_S) if self._waiting else self._longest_s
        if next_ms is None:
            return most_s
        until_s: float = (next_ms - self.app.clock.now_ms()) / 1000
        return min(max(0.0, until_s), most_s)

    def _watch_the_clock(self) -> None:
        """After the clock was set back, let no entry wait longer than its schedule says.

        At the first look, that is known of an entry that was written or has run in what is now the future.
        """
        offset_s = self.app.clock.now_ms() / 1000 - self.app.clock.monotonic()
        before_s, self._wall_offset_s = self._wall_offset_s, offset_s
        if before_s is not None and offset_s - before_s > -JUMP_S:
            return
        now_ms = self.app.clock.now_ms()
        for record in self.storage.schedules.all():
            ahead = max(record.created_ms, record.last_run_ms or 0) > now_ms + JUMP_S * 1000
            if record.enabled and (before_s is not None or ahead):
                self._try(record, partial(self._bring_near, now_ms=now_ms))

    def _bring_near(self, record: ScheduleRecord, *, now_ms: int) -> bool:
        """Move `record` to the next time of its schedule, where it is to wait for a later one; whether it was."""
        schedule = self._schedule(record)
        if schedule is None or record.next_due_ms is None or record.next_due_ms <= now_ms:
            return False
        try:
            next_ms = in_ms(schedule.next_after(from_ms(now_ms)))
        except NeverDue:
            return False
        moved = record.next_due_ms > next_ms and self.storage.schedules.put_off(record, next_due_ms=next_ms)
        if moved:
            logger.warning("beat: the clock was set back; %s is due at %s", record.name, from_ms(next_ms).isoformat())
        return moved

    def _try(self, record: ScheduleRecord, do: Callable[[ScheduleRecord], bool]) -> bool:
        """As `do`; an entry with which it cannot be done is passed over, and named."""
        try:
            return do(record)
        except CodecError as exc:  # its key may come back
            self._report(logging.ERROR, f"beat: {record.name} cannot be read and is passed over: {exc}")
            return False
        except StorageError:
            raise
        except Exception as exc:  # noqa: BLE001 - a row that another program wrote: the other entries go on
            if record.name not in self._passed_over:
                self._passed_over.add(record.name)
                logger.error("beat: %s cannot be read and is passed over: %r", record.name, exc)  # noqa: TRY400
            return False

    # -- one entry ---------------------------------------------------------------------------------------------------

    def _handle(self, record: ScheduleRecord) -> bool:
        """Deal with an entry that is due; False when only another program can, or when it waits for its last run."""
        schedule = self._schedule(record)
        if schedule is None:
            return False
        conf, now = self.app.conf, self._now()
        assert record.next_due_ms is not None
        rules = Rules.of(decode(record.signature), record.name)
        last = NO_LAST if rules.overlap == "allow" else self._last(record)
        decision = decide(
            schedule,
            from_ms(record.next_due_ms),
            now,
            catch_up=rules.catch_up or conf.beat_catch_up,
            deadline_s=conf.beat_cron_starting_deadline if rules.catch_up_within is None else rules.catch_up_within,
            overlap=rules.overlap,
            last=last,
            since=from_ms(record.last_run_ms or record.created_ms),
        )
        if decision.waits:
            self._waiting = True
            return False
        next_ms = None if decision.next_due is None else in_ms(decision.next_due)
        if decision.runs:
            entry = ScheduleEntry(self.app, record, schedule, decision.runs, next_ms)
            entry.unfinished = record.last_id if last.unfinished else None
            self.apply_entry(entry)
        else:
            self.storage.schedules.put_off(record, next_due_ms=next_ms)
        return True

    def _last(self, record: ScheduleRecord) -> Last:
        found = None if record.last_id is None else self.storage.reader.find(record.last_id)
        if found is None:
            return NO_LAST
        if not found.has_ended:
            return Last(unfinished=True)
        return Last(ended=None if found.finished_ms is None else from_ms(found.finished_ms))

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:  # noqa: ARG002 - Celery's parameter
        """Send the runs of an entry that is due, and move it on; one that cannot be sent is put off.

        Its name, and what it is called with, are those of Celery's scheduler, whose users wrap it. `producer` is not
        used.
        """
        observer = self.app.publisher.observer
        with nullcontext() if observer is None else observer.sending(entry):
            self._apply(entry)

    def _apply(self, entry: ScheduleEntry) -> None:
        record, runs, next_ms = entry.record, entry.runs, entry.next_due_ms
        late_s = (self._now() - runs[-1]).total_seconds()
        try:
            batch, last_id = self._batch(entry)
        except StorageError:  # a limit of the call's own may have to be written: its time is not over by that
            raise
        except Exception as exc:  # noqa: BLE001 - its arguments do not fit, its router fails: the other entries go on
            logger.error("beat: cannot send %s: %s", record.name, exc)  # noqa: TRY400 - in one line
            self.storage.schedules.put_off(record, next_due_ms=next_ms)
            return
        try:
            fired = self.storage.schedules.fire(
                record, batch, n=len(runs), last_id=last_id, next_due_ms=next_ms, replaces=entry.unfinished
            )
        except CanvasConflict as exc:  # one of its ids is that of something else in the queue
            logger.error("beat: cannot send %s: %s", record.name, exc)  # noqa: TRY400 - in one line
            self.storage.schedules.put_off(record, next_due_ms=next_ms)
            return
        if fired:
            entry.sent = True
            announce_sent(self.app, batch.messages)
            logger.info("beat: sending due task %s (%s), %.3f s after its time", record.name, last_id, late_s)
            if entry.unfinished is not None:
                logger.info("beat: %s was sent anew: its last run (%s) is cancelled", record.name, entry.unfinished)

    def _batch(self, entry: ScheduleEntry) -> tuple[Batch, str]:
        record, whole, last_id = entry.record, Batch(), ""
        for due in entry.runs:
            id_ = run_id(record.name, in_ms(due))
            batch, last_id = self.app.schedules.batch(record, id_, entry.signature)
            whole.messages += batch.messages
            whole.groups += batch.groups
        return whole, last_id

    def _schedule(self, record: ScheduleRecord) -> BaseSchedule | None:
        own = self._own.get(record.name)
        if own is not None and own[0] == record.source:
            return own[1]
        try:
            made = self._made.get(record.schedule)
            if made is None:
                made = self._made[record.schedule] = from_document(orjson.loads(record.schedule))
            return made
        except ImproperlyConfigured as exc:
            if record.name not in self._passed_over:
                self._passed_over.add(record.name)
                logger.warning("beat: %s is left to another beat: %s", record.name, exc)
            return None

    def _now(self) -> datetime:
        return from_ms(self.app.clock.now_ms())
