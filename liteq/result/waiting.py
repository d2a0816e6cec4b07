"""How a caller waits: asleep until the storage rings that something has finished, never by polling rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self, TypeVar

from liteq.clock import Clock
from liteq.context import App
from liteq.context.living import living, none_knows, takes_from
from liteq.exceptions import StorageError, StorageUnavailable, TimeoutError
from liteq.states import State
from liteq.storage.claiming.pauses import Pause
from liteq.storage.claiming.workers import WorkerRecord
from liteq.storage.driver import Listener
from liteq.storage.reading.inspect import Record
from liteq.storage.storage import Storage
from liteq.utils.text import as_command, iso_time

__all__ = ["LONG_S", "RECHECK_S", "Absence", "Deadline", "DoneBell", "both", "is_away", "told", "why_waiting"]

logger = logging.getLogger("liteq.result")

T = TypeVar("T")

_UNKNOWN: object = True  # for "has it not ended?"

# A ring may be lost, a row never is: look again after this many seconds in any case.
RECHECK_S = 1.0
UNCOMMITTED = (
    "this thread is inside a transaction: what it sent there is seen by no worker before the commit, so wait after it"
)
LONG_S = 10.0  # a caller that has waited for so long is told once what it waits for


def why_waiting(app: App, id_: str) -> str:
    """The reason why `id_` has no result yet, for a person: its state, the file, the workers that take its queue.

    Reads the file; where that cannot be read, it says so.
    """
    try:
        record = app.storage.reader.find(id_)
        workers = living(app)
        file = app.storage.driver.where()
        uncommitted = app.storage.driver.is_uncommitted()
        pause = None if record is None else app.storage.queues.paused().of(record.queue)
    except StorageError as exc:
        return f"its file cannot be read: {exc}"
    if record is None:
        return f"{file} knows no such id: it was not sent there, or is forgotten"
    due = f" until {iso_time(record.due_ms)}" if record.state == State.SCHEDULED else ""
    why = UNCOMMITTED if uncommitted and not record.has_ended else _of_pause(record, pause)
    why = why or _of_workers(record, workers)
    return f"it is {record.state}{due} in the queue {record.queue!r} of {file}; {why}"


def _of_pause(record: Record, pause: Pause | None) -> str | None:
    """The reason why it is not begun, where that is a pause of its queue; else None."""
    if pause is None or record.has_ended or record.state == State.LEASED:
        return None
    by, why = f" by {pause.actor}" if pause.actor else "", f" ({pause.reason})" if pause.reason else ""
    until = "" if pause.until_ms is None else f" until {iso_time(pause.until_ms)}"
    return f"that queue is paused{by}{why}{until}: {as_command('queue resume', pause.queue)} lets it go on"


def _of_workers(record: Record, workers: list[WorkerRecord]) -> str:
    if record.has_ended:
        return "its result has come meanwhile"
    if not workers:
        return "no worker is alive on that file: start one with `liteq worker`"
    if record.state == State.LEASED and record.worker:
        return f"the worker {record.worker} has it"
    if record.state in {State.HELD, State.BLOCKED}:
        return f"{as_command('why', record.id)} says what holds it"
    takers = [one for one in workers if takes_from(one, record.queue, quiet=True) or not one.facts.get("queues")]
    if not takers:
        return f"none of the {len(workers)} workers that live takes that queue: start one with -Q {record.queue}"
    take = f"{takers[0].name} takes" if len(takers) == 1 else f"{takers[0].name} and {len(takers) - 1} more take"
    if all(worker.facts.get("quiet") for worker in takers):
        return f"{take} that queue, but nothing is claimed: quiet until `liteq control wake`"
    if none_knows(takers, record.task):
        return f"{take} that queue, but no worker of it knows {record.task!r}: start one whose app has this task"
    return f"{take} that queue"


def told(app: App, id_: str, waited_s: float) -> None:
    """Log what `id_` waits for: as a warning, but where a worker runs it."""
    why = why_waiting(app, id_)
    level = logging.INFO if why.endswith(" has it") else logging.WARNING
    logger.log(level, "waiting for %s since %.0f s: %s", id_, waited_s, why)


def is_away(storage: Storage, error: BaseException) -> bool:
    """Whether `error` says that a server does not answer. It comes back with what is waited for; a file does not."""
    return isinstance(error, StorageUnavailable) and not storage.driver.one_machine


class Absence:
    """The time in which the queue's server does not answer: logged as it begins and as it ends.

    `what` is waited for, as the log names it.
    """

    def __init__(self, app: App, what: str) -> None:
        self._app = app
        self._what = what
        self._lasts = False

    def tries(self, look: Callable[[], T], meanwhile: T) -> T:
        """`look()`; `meanwhile` as long as the server does not answer. Raises what else it raises."""
        try:
            found = look()
        except StorageUnavailable as exc:
            if not self.excuses(exc):
                raise
            return meanwhile
        self.over()
        return found

    def excuses(self, exc: StorageUnavailable) -> bool:
        """Whether `exc` is this absence, which is a reason to wait on."""
        if not is_away(self._app.storage, exc):
            return False
        if not self._lasts:
            self._lasts = True
            logger.warning("%s is waited for until the queue can be read again: %s", self._what, exc)
        return True

    def over(self) -> None:
        """Note that the server has answered."""
        if self._lasts:
            self._lasts = False
            logger.warning("the queue can be read again")


class Deadline:
    """How long is left of `timeout` seconds; None is for ever. Raises TimeoutError once it is over.

    What is waited for longer than LONG_S is logged, once.
    """

    def __init__(self, app: App, timeout: float | None) -> None:
        self._app = app
        self._clock: Clock = app.clock
        self._timeout = timeout
        self._start = self._clock.monotonic()
        self._told = False
        self.absence = Absence(app, "a result")

    def tries(self, look: Callable[[], object]) -> object:
        """`look()`; True, as for what has not ended yet, while the queue's server does not answer."""
        return self.absence.tries(look, meanwhile=_UNKNOWN)

    def left(self, id_: str) -> float:
        """Seconds to sleep until the next look at `id_`, at most RECHECK_S."""
        waited = self._clock.monotonic() - self._start
        left = RECHECK_S if self._timeout is None else self._timeout - waited
        if left <= 0:
            # One who asks with no patience asks often: no more is read for it.
            why = f": {why_waiting(self._app, id_)}" if self._timeout else ""
            raise TimeoutError(f"{id_} did not finish in time{why}")
        if waited >= LONG_S and not self._told:
            self._told = True
            told(self._app, id_, waited)
        return min(left, RECHECK_S)


class DoneBell:
    """A listener for the time of one wait: from when it is made until it is left."""

    def __init__(self, app: App) -> None:
        self._hearing = app.storage.hearing()
        self._listener: Listener = self._hearing.__enter__()

    def wait(self, timeout_s: float) -> None:
        self._listener.wait(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hearing.__exit__(None, None, None)


def both(first: Callable[[], object] | None, second: Callable[[], object] | None) -> Callable[[], object] | None:
    """One function that calls both, of those that there are."""
    if first is None or second is None:
        return first or second

    def call() -> None:
        first()
        second()

    return call
