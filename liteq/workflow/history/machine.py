"""`Machine`: one activation of a run in this process: its history, its writes, and how its body is left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from liteq.clock import SystemClock
from liteq.context import App, Observer
from liteq.exceptions import LeaseLost, NonDeterminism, RunCancelled, StorageError, WorkflowCancelled, WorkflowError
from liteq.message import Cancel, ContinueAsNew, Hold, Lease, Outcome, Park, Release, RunFacts, StepRow, Suspend
from liteq.serialization import encode_error
from liteq.storage.runs.records import ASIDE, CANCEL, FORK, HOLES, REWOUND, Asked, in_place
from liteq.workflow.history.ahead import Ahead
from liteq.workflow.history.aside import Aside
from liteq.workflow.history.code import fingerprint_of
from liteq.workflow.history.codec import hashes_under
from liteq.workflow.history.errors import document_of
from liteq.workflow.history.frames import Diverged, Leave
from liteq.workflow.history.places import Awaiting, Limit, Page, Place, Point, Wait, show

if TYPE_CHECKING:
    from liteq.storage.runs.records import Memo
    from liteq.storage.spending.kinds import Warned
    from liteq.storage.spending.settling import Spent

__all__ = ["Machine", "cancelled", "key_of"]

logger = logging.getLogger("liteq.workflow")

UNKNOWN = 1 << 62  # of holes in a history that older code has cut: it left no mark of them


class Machine:
    """One activation of one run. `facts`: its state at the claim, or with its history."""

    kin: Sequence[str] = ()  # the ids of the runs that this one has kept steps of
    rewound = 0  # the number of rewinds that have forgotten a finished step
    aside: Aside | None = None  # of a retried run: what it did behind the step that had failed
    recorded: Any = None  # of a test with a recording: the answers to its calls (recording.py)
    pending: Awaiting | None = None  # of an async body that runs: its waits and its steps
    is_collected = False  # of an async body: what it was left by is caught by no code of it, and is in a result
    is_step = False  # of a step that was sent as a message
    has_begun = False  # of a step that was sent and is limited: the token of its claim is spent

    def __init__(
        self,
        app: App,
        lease: Lease,
        facts: RunFacts,
        *,
        page: Page | None,
        stop: Callable[[], int] | None,
        limit: Limit | None,
    ) -> None:
        self.app, self.lease, self.run_id, self.facts = app, lease, lease.id, facts
        self.told = True  # the log tells of it
        self.observer: Observer | None = app.publisher.observer
        self.through, self.through_async = app.middleware.around(), app.middleware.around_async()
        self.failure: BaseException | None = None  # by which it has failed
        self.hold = Hold(lease.seq, lease.token, facts.gen)
        self.runs = app.storage.runs
        self.now_ms = app.clock.now_ms
        self.sleeps_here = isinstance(app.clock, SystemClock)  # a clock that is moved by hand passes in no sleep
        self.mocks: Any = getattr(app, "workflow_mocks", None) or None  # of a test, by name
        self.is_strict: bool = app.conf.workflow_strict_replay
        self.page = page
        self.stop = stop
        self.limit = limit
        self.max_bytes: int = app.conf.max_step_bytes
        self.error_limit: int = app.conf.max_traceback_bytes
        self.thread = get_ident()
        self.is_async = False
        self.flow: Any = None
        self.emitters: dict[Place, Any] = {}
        self.calls = 0  # that the body has made, the same at the same place of each replay
        self.scope: Point | None = None  # of the body itself
        self.rows: dict[Place, StepRow] = {}
        self.ahead = Ahead()
        self.used: set[str] = set()  # keys of calls
        self.met: set[str] = set()  # ... and the scopes of their rows
        self.marks: set[str] = set()
        self.new_marks: list[str] = []
        self.denied: list[tuple[str, int, str]] = []  # scope, position, mark: decisions that no call behind tells
        self.unpatched: set[str] = set()  # ids of `patched` that this run had passed before they were there
        self.cancelled_at: set[Place] = set()
        self.holes = 0  # the position before which calls of the body were forgotten, and are made again
        self.asked: Asked | None = Asked(facts.asked, facts.reason) if facts.asked else None
        self.leaving: Leave | None = None
        self.outcome: Outcome | BaseException | None = None  # set with `leaving`
        self.written = 0
        self.attached: set[Place] = set()
        self.compensated = bool(facts.compensated)
        self.wake: Callable[[], None] | None = None  # of an async body: have its loop see that it is left

    @cached_property
    def locks(self) -> dict[str, Any]:
        """The locks of the keys under which its async steps are limited (limits.py)."""
        return {}

    def load(self) -> None:
        """Read the history. Replaces the facts by those of the same snapshot."""
        history = self.runs.history(self.hold.run)
        facts = self.facts = history.facts
        self.hold = Hold(self.hold.run, self.hold.token, facts.gen)
        if facts.asked:
            self.asked = Asked(facts.asked, facts.reason)
        self.compensated = bool(facts.compensated)
        rows = self.rows
        for row in history.steps:
            rows[row.scope, row.pos] = row
        for mark in history.marks:
            self._note(mark)
        if any(mark.startswith(ASIDE) for mark in history.marks):
            self.aside = Aside(rows.pop(place) for place in [*rows] if in_place(place[0]) is not None)
        if (self.kin or self.rewound or self.aside is not None) and not any(m.startswith(HOLES) for m in self.marks):
            self.holes = UNKNOWN
        self.ahead.note(rows)
        if len(rows) >= self.app.conf.workflow_history_warning:
            logger.warning(
                "run %s has %s steps: let it continue_as_new (workflow_history_warning)", self.run_id, len(rows)
            )

    def _note(self, mark: str) -> None:
        self.marks.add(mark)
        if mark.startswith(CANCEL):
            scope, _, pos = mark.removeprefix(CANCEL).rpartition("/")
            self.cancelled_at.add((scope, int(pos)))
        elif mark.startswith(FORK):
            self.kin = (*self.kin, mark.removeprefix(FORK))
        elif mark.startswith(REWOUND):
            self.rewound = max(self.rewound, int(mark.removeprefix(REWOUND)))
        elif mark.startswith(HOLES):
            self.holes = max(self.holes, int(mark.removeprefix(HOLES)))

    def mark(self, mark: str) -> None:
        """Remember a decision of the body; it rides in the next write."""
        if mark not in self.marks:
            self.new_marks.append(mark)
            self._note(mark)

    def function_of(self, step: Any) -> Callable[..., Any]:
        """The function of a step; in a test, that which was put in its place.

        `__mocked__` of the function: makes a mock fit where a framework calls its step otherwise than the user does.
        """
        function: Callable[..., Any] = step.function
        if self.mocks is None:
            return function
        name: str = step.name
        mock = self.mocks.get(name) or self.mocks.get(name.rpartition(".")[2])
        if mock is None:
            return function
        called = getattr(function, "__mocked__", None)
        return mock if called is None else called(mock)  # type: ignore[no-any-return]

    def was_given(self, row: StepRow, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether a step that was kept from another run had these arguments, but for the id of the run in them."""
        return bool(self.kin) and row.arghash in {*hashes_under(self.kin, self.run_id, args, kwargs)}

    def place_of_key(self, key: str) -> Place:
        """The place of a call with a key: its own, or that of a kept step under the key with its run's id."""
        place = (f"={key}", 0)
        if self.kin and place not in self.rows:
            kept = [(f"={key.replace(self.run_id, id_)}", 0) for id_ in self.kin]
            return next((one for one in kept if one in self.rows), place)
        return place

    def mark_denied(self) -> None:
        """Remember the decisions that no recorded call behind them tells."""
        denied, self.denied = self.denied, []
        for _, _, mark in denied:
            self.mark(mark)

    def _tells(self, rows: Sequence[StepRow]) -> None:
        """Note that `rows` are recorded, which tells of the decisions before them."""
        for row in rows if self.denied else ():
            self.denied = [one for one in self.denied if one[0] != row.scope or one[1] >= row.pos]

    def take_marks(self) -> bytes | None:
        """The new marks, for a write that takes them."""
        if not self.new_marks:
            return None
        marks, self.new_marks = orjson.dumps(self.new_marks), []
        return marks

    def keep_marks(self, marks: bytes | None) -> None:
        """Have marks ride in a later write: the one that had taken them is not done."""
        if marks is not None:
            self.new_marks = [*orjson.loads(marks), *self.new_marks]

    def write_marks(self) -> None:
        """Record the new marks now: the next record may be one that this process does not write."""
        marks = self.take_marks()
        if marks is not None:
            self.reading(lambda: self.runs.mark(self.hold, marks))

    def unused(self) -> StepRow | None:
        """A call of the body itself that history holds and that this code has not come to."""
        scope = self.scope
        return None if scope is None else self.ahead.unused(scope, self.rows)

    def flush(self) -> None:
        """Write what is still held back of streams."""
        while self.emitters:
            _, emitter = self.emitters.popitem()
            try:
                emitter.flush()
            except Leave:
                return

    # -- leaving the body --------------------------------------------------------------------------------------------

    def leave(self, outcome: Outcome | BaseException, how: type[Leave] = Leave) -> NoReturn:
        """Leave the body with `outcome`, or to raise that out of the activation; each later call is left too."""
        if self.leaving is None:
            self.leaving = how(type(outcome).__name__)
            self.outcome = outcome
            if self.wake is not None:
                self.wake()
        raise self.leaving

    def suspend(self, waits: list[Wait]) -> NoReturn:
        """Leave the body until something of `waits` comes."""
        self.leave(self.suspension(waits))

    def suspension(self, waits: list[Wait]) -> Suspend:
        """The outcome for a body that waits for `waits`."""
        rows = [wait.row for wait in waits if wait.row is not None]
        self._tells(rows)
        self.mark_denied()
        return Suspend(
            rows,
            due_ms=min((wait.due_ms for wait in waits if wait.due_ms is not None), default=None),
            need=min((wait.need for wait in waits if wait.need), default=0),
            seen=(self.facts.ends, self.facts.fails),
            fragile=any(wait.fragile for wait in waits),
            marks=self.take_marks(),
        )

    def diverged(self, place: Place, recorded: str, found: str) -> NoReturn:
        """Leave the body for good: its code asks for something else than history holds."""
        where = f"{self.lease.task}[{self.run_id}] {show(place)}"
        self.stick(NonDeterminism(where, recorded, found))

    def stick(self, exc: Exception) -> NoReturn:
        """Leave the body until other code is there: this one cannot go on from what history holds."""
        error = document_of(exc, self.error_limit, traced=False)
        self.leave(Park("stuck", error, fingerprint_of(self.app), progressed=self.written > 0), Diverged)

    def continue_as_new(self, payload: bytes) -> NoReturn:
        """Leave the body, which begins anew with other arguments and no history."""
        self.leave(ContinueAsNew(payload))

    def check(self) -> None:
        """Raise where no call is answered any more: the body was left, or this is another thread."""
        if self.leaving is not None:
            raise self.leaving
        if self.thread != get_ident():
            raise WorkflowError(
                "a run's calls belong to the thread of its body: call a step from there, and start threads inside steps"
            )

    def front(self, scope: Point, place: Place) -> None:
        """Before something is done that history does not hold: obey what is asked of the run."""
        if self.stop is not None and self.stop():
            self.leave(Release())
        if self.facts.deadline_ms is not None:
            self.look_at_the_time()
        if self.asked is not None:
            self.obey(scope, place)

    def look_at_the_time(self) -> None:
        """Note that the run's timeout is over. Its claim sees that of a run that waited, this of one that executes."""
        deadline_ms = self.facts.deadline_ms
        if deadline_ms is not None and self.asked is None and self.now_ms() >= deadline_ms:
            self.asked = Asked("timeout")

    def obey(self, scope: Point, place: Place) -> None:
        """Do what is asked of the run, at `place`."""
        assert self.asked is not None
        what, reason = self.asked
        if what == "stopped":
            self.leave(Release())
        if what == "pause":
            self.leave(Park("paused", progressed=self.written > 0))
        if not scope.shields:
            self.cancel(place, reason)

    def cancel(self, place: Place, reason: str = "") -> NoReturn:
        """Raise the cancel of the run at `place`, where each replay will raise it too."""
        if place not in self.cancelled_at:
            self.mark(f"{CANCEL}{place[0]}/{place[1]}")
        if self.asked is None:
            self.asked = Asked("cancel", reason)
        raise WorkflowCancelled(reason or self.asked.reason)

    @property
    def family(self) -> dict[str, Any]:
        """The ids that a message of this run bears: of the first one of its tree, and of the run."""
        return {"root_id": self.lease.root_id or self.lease.id, "parent_id": self.lease.id}

    @property
    def seed(self) -> str:
        """The text that stands for this run, and for those that are forked from it, in what is derived from a run."""
        facts = self.facts
        return f"{facts.seed or self.run_id}.{facts.started_ms or 0:x}"

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to end as cancelled, or as timed out."""
        return self.asked is not None and self.asked.what in {"cancel", "timeout"}

    # -- writing -----------------------------------------------------------------------------------------------------

    def warn(self, warned: Sequence[Warned]) -> None:
        """Tell people of budgets of which so much is spent."""
        from liteq.workflow.history.announce import announce_budgets

        announce_budgets(self.app, self.lease, warned)

    def checkpoint(
        self, row: StepRow, memo: Memo | None = None, intent: bool = False, spent: Spent | None = None
    ) -> None:
        """Record a call. Leaves the body where the lease is over, or the file cannot be used."""
        if self.new_marks:
            row = row._replace(marks=self.take_marks())
        try:
            if spent is not None:
                asked = self.runs.checkpoint(self.hold, row, memo=memo, intent=intent, spent=spent, warn=self.warn)
            elif memo is not None or intent:
                asked = self.runs.checkpoint(self.hold, row, memo=memo, intent=intent)
            else:
                asked = self.runs.checkpoint(self.hold, row)
        except (LeaseLost, StorageError) as exc:
            self.lost(exc)
        self.written += 1
        if self.denied:
            self._tells([row])
        if asked is not None:
            self.asked = asked
        if self.is_strict:
            self.replay(row)

    def replay(self, row: StepRow) -> None:
        """Run the body anew behind an ended call, for `workflow_strict_replay`."""
        if row.ended_ms is not None:
            self.leave(Suspend(due_ms=row.ended_ms, seen=(self.facts.ends, self.facts.fails)))

    def written_once(self, scope: Point, place: Place, write: Callable[[], Asked | None], rows: list[StepRow]) -> None:
        """Do a write that records `rows` together with their effect. Leaves as `checkpoint`.

        Where something is asked of the run it has done nothing: that is obeyed, and inside a shield it is done again.
        """
        while True:
            try:
                asked = write()
            except (LeaseLost, StorageError) as exc:
                self.lost(exc)
            if asked is None:
                break
            self.asked = asked
            for row in rows:
                self.keep_marks(row.marks)
            self.obey(scope, place)
        self.written += len(rows)
        for row in rows:
            self.rows[row.scope, row.pos] = row
        self._tells(rows)

    def lost(self, exc: BaseException) -> NoReturn:
        """Leave the body at once: the lease is over, or nothing can be written (that is raised to the worker)."""
        self.leave(Release() if isinstance(exc, LeaseLost) else exc)

    def reading(self, read: Callable[[], Any]) -> Any:
        """The result of `read`, of the storage. Leaves as `checkpoint`."""
        try:
            return read()
        except (LeaseLost, StorageError) as exc:
            self.lost(exc)


def key_of(machine: Machine, place: Place) -> str:
    """The idempotency key of a step, for other systems: one for each place of each run."""
    scope, pos = place
    return f"{machine.seed}.{machine.hold.gen}.{scope}{':' if scope else ''}{pos}"


def cancelled(reason: str) -> Outcome:
    """The outcome of a cancelled run."""
    return Cancel(encode_error(RunCancelled(reason or "cancelled")))
