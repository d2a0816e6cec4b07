"""`Scope`: the place of a body's code. Each asyncio task of an async body has one of its own, a plain body has one."""

from __future__ import annotations

import random as _random
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from threading import get_ident
from typing import Any, NoReturn
from uuid import UUID

from liteq.clock import from_ms
from liteq.exceptions import NotSerializable, WorkflowCancelled, WorkflowError
from liteq.message import StepRow
from liteq.workflow.declared.step import Step
from liteq.workflow.history.calls import Call, Pend, called, raising
from liteq.workflow.history.codec import Form, hash_of
from liteq.workflow.history.errors import raised_of
from liteq.workflow.history.machine import Machine, key_of
from liteq.workflow.history.places import Place, Undoing, Wait, describe, show
from liteq.workflow.history.taking import stood_aside, take_back, taken_back
from liteq.workflow.stepping.attempts import attempted, attempted_async

__all__ = ["Scope"]

NO_NAMES: Mapping[str, Any] = {}
SILENT = frozenset({"gather", "race", "result", "saga"})  # calls that leave no row


class Scope:
    """Positions of calls, in program order, and what is derived from them. `name`: '' for the body itself."""

    __slots__ = (
        "branches", "given", "issued", "keyed", "machine", "name", "pends", "pos", "randoms", "reached_ms", "sagas",
        "shields", "uuids",
    )  # fmt: skip

    def __init__(self, machine: Machine, name: str, reached_ms: int) -> None:
        self.machine = machine
        self.name = name
        self.pos = 0
        self.keyed = 0  # calls with a key since the last position
        self.issued: str | None = None  # the step_key that was asked for, for the next call
        self.given: str | None = None  # ... and that of the call that was made last
        self.uuids = 0
        self.randoms: tuple[int, _random.Random] | None = None
        self.reached_ms = reached_ms  # the end of the last recorded call
        self.branches = 0
        self.pends = False  # in a plain body: what waits is waited for together with others (waits.together)
        self.shields = 0
        self.sagas: list[Undoing] = []

    def branch(self) -> Scope:
        """The scope of a task that code of this one creates."""
        self.branches += 1
        inner = type(self)(self.machine, f"{self.name}/{self.branches}", self.reached_ms)
        inner.shields, inner.sagas = self.shields, list(self.sagas)
        return inner

    # -- places ------------------------------------------------------------------------------------------------------

    def place(
        self,
        kind: str,
        name: str,
        arghash: bytes | None = None,
        key: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NO_NAMES,
    ) -> tuple[Place, StepRow | None]:
        """The place of the next call, and its row where history holds it. `args`, `kwargs`: of which `arghash` is.

        Leaves the body where history holds another call there; raises WorkflowCancelled where it was cancelled there.
        """
        machine = self.machine
        if machine.leaving is not None or machine.thread != get_ident():
            machine.check()
        machine.calls += 1
        self.given, self.issued = self.issued, None
        if key is None:
            self.pos += 1
            place = (self.name, self.pos)
            self.keyed = self.uuids = 0
        else:
            place = self._keyed(key)
        if machine.cancelled_at and place in machine.cancelled_at and not self.shields:
            machine.cancel(place)
        if not machine.rows and machine.aside is None:
            return place, None
        row = machine.rows.get(place)
        if row is None and machine.aside is not None:
            row = self._again(place, kind, name, arghash, args, kwargs)
        if row is not None and (row.kind != kind or row.name != name or row.arghash != arghash):
            if row.kind == kind and row.name == name and machine.was_given(row, args, kwargs):
                return place, row
            found = describe(StepRow(*place, kind, name))
            recorded = describe(row)
            if recorded == found:
                found += " with other arguments"
            machine.diverged(place, recorded, found)
        if row is None and kind != "map":  # whose items have the rows
            if (mapped := machine.ahead.maps.get(place)) is not None:
                machine.diverged(place, describe(mapped), describe(StepRow(*place, kind, name)))
            if kind not in SILENT and (later := self._later(place, kind, name, arghash)) is not None:
                recorded = f"another call, without a record, and {describe(later)} as call {later.pos}"
                machine.diverged(place, recorded, describe(later))
        return place, row

    def went_on(self, place: Place) -> bool:
        """Whether the body has gone on behind `place`: what history does not hold there was not called there.

        False where that is not known: of calls side by side a later one may be recorded first, and a retry, a rewind or
        a fork forgets some.
        """
        machine = self.machine
        last = machine.ahead.last("")
        return place[0] == "" and machine.holes <= place[1] < last and not machine.is_async and not self.pends

    def _later(self, place: Place, kind: str, name: str, arghash: bytes | None) -> StepRow | None:
        """The row of this very call, where history holds it further on alone: it is not to be made once more here."""
        if self.went_on(place):
            rows = self.machine.rows
            for pos in range(place[1] + 1, self.machine.ahead.last("") + 1):
                row = rows.get(("", pos))
                if row is not None and (row.kind, row.name, row.arghash) == (kind, name, arghash):
                    return row
        return None

    def _again(
        self, place: Place, kind: str, name: str, arghash: bytes | None, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> StepRow | None:
        """The row of a call that the run had made before its retry, at any place; it stands at `place` from now on."""
        machine = self.machine
        found = stood_aside(machine, place[0], kind, name, arghash, args, kwargs)
        if not found:
            return None
        take_back(machine, self, place, [taken_back(found[0], place, arghash, now_ms=machine.now_ms())], found)
        return machine.rows[place]

    def _keyed(self, key: str) -> Place:
        used = self.machine.used
        if key in used:
            raise WorkflowError(f"the key {key!r} is used twice in this run: give each call a key of its own")
        used.add(key)
        self.keyed += 1
        place = self.machine.place_of_key(key)
        self.machine.met.add(place[0])
        return place

    def passed(self) -> bool:
        """Whether history holds a call after this point: the run was here before."""
        return self.machine.ahead.is_behind(self, self.machine.met)

    def decide(self, mark: str, value: bool, *, unless: str | None = None) -> bool:
        """`value`, as it was when the run was here first. Where it is true, `mark` remembers that.

        `unless`: the mark that remembers a false value, where no recorded call behind it tells that.
        """
        machine = self.machine
        if mark in machine.marks:
            return True
        if unless in machine.marks or self.passed():
            return False
        if value:
            machine.mark(mark)
        elif unless is not None:
            machine.denied.append((self.name, self.pos, unless))
        return value

    def wait(self, wait: Wait) -> NoReturn:
        """Leave the body until `wait` is over; in an async one this branch alone."""
        self.machine.front(self, wait.place)
        if self.pends or self.machine.is_async:
            raise Pend(wait)
        self.machine.suspend([wait])

    def answer(self, row: StepRow, form: Form) -> Any:
        """The result of an ended call, or its exception."""
        self.reach(row)
        if row.error is not None:
            raise raised_of(row.error)
        try:
            return form.decode(row.output or b"null")
        except NotSerializable as exc:  # it was checked when it was recorded: this is other code
            where = f"{show((row.scope, row.pos))} of run {self.machine.run_id}"
            self.machine.stick(NotSerializable(f"{exc}; it is recorded as {where}: deploy code that reads it"))

    def reach(self, row: StepRow) -> None:
        """Note that the code has got the end of a call."""
        ended = row.ended_ms
        if ended is not None and ended > self.reached_ms:
            self.reached_ms = ended

    # -- a frame -----------------------------------------------------------------------------------------------------

    def refuse(self, what: str) -> NoReturn:
        raise WorkflowError(f"{what} is for a step: call it in one (`@app.step`, `ctx.run`)")

    def call_step(
        self, step: Step[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, awaited: bool = False
    ) -> Any:
        """A step called in the body: answered from history, else run here and now.

        `awaited`: in an async body, by what waits where the step has to (`called`).
        """
        machine = self.machine
        if step.is_async and not machine.is_async:
            machine.check()
            raise WorkflowError(
                f"{step.what} is `async def`, and this body is not: make the body `async def`, or ctx.call() the step"
            )
        arghash = hash_of(args, kwargs, step.what) if args or kwargs else None
        try:
            place, row = self.place("step", step.name, arghash, step.key, args, kwargs)
        except WorkflowCancelled as exc:
            if step.is_async:
                return raising(machine, step.what, exc)
            raise
        if step.is_async:
            return Call(machine, step.what, attempted_async(self, step, place, row, arghash, args, kwargs))
        if row is not None and row.ended_ms is not None:
            value = self.answer(row, step.form)
        else:
            try:
                value = attempted(self, step, place, row, arghash, args, kwargs)
            except Pend as pend:
                if awaited or machine.pending is None:  # a plain body has none
                    raise
                machine.pending.leave_for(pend.wait)
        if step.compensate is not None:
            self.compensate(step, value)
        return value

    def awaited_step(self, step: Step[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call[Any]:
        """A step called in an async body, to be awaited whatever its function is."""
        if step.is_async:
            return self.call_step(step, args, kwargs)  # type: ignore[no-any-return]
        return called(self.machine, self.call_step, step, args, kwargs, awaited=True)

    def compensate(self, step: Step[Any, Any], value: Any) -> None:
        """Add the compensation of a step to the innermost saga, if there is one."""
        if self.sagas:
            self.sagas[-1].add(step.compensate, value)

    # -- derived -----------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        self.machine.check()
        return from_ms(self.reached_ms)

    def uuid(self) -> UUID:
        self.machine.check()
        self.uuids += 1
        return UUID(bytes=self._derived("uuid", self.uuids), version=4)

    def random(self) -> _random.Random:
        self.machine.check()
        if self.randoms is None or self.randoms[0] != self.pos:
            self.randoms = (self.pos, _random.Random(self._derived("random", 0)))
        return self.randoms[1]

    def _derived(self, what: str, n: int) -> bytes:
        machine = self.machine
        text = f"{machine.seed}\0{machine.hold.gen}\0{self.name}\0{self.pos}\0{what}\0{n}"
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def step_key(self) -> str:
        self.machine.check()
        after = f"+{self.keyed}" if self.keyed else ""
        self.issued = key_of(self.machine, (self.name, self.pos + 1)) + after
        return self.issued

    def patched(self, id_: str) -> bool:
        machine = self.machine
        machine.check()
        if not id_:
            raise ValueError(f"a patch needs an id, not {id_!r}")
        if id_ in machine.unpatched:
            return False
        if not self.decide(id_, value=True):
            machine.unpatched.add(id_)  # for the whole run: code behind one id goes together
            return False
        return True
