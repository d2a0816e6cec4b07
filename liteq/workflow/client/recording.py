"""A recording: exported runs, out of which the calls of a test's run are answered. For `liteq.testing.WorkflowTest`.

A call is found by its name, its key and the hash of its arguments, wherever it stands; each recorded call answers once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from liteq.clock import FakeClock
from liteq.exceptions import BadMessage, NotSerializable
from liteq.exceptions.workflows import NotRecorded
from liteq.message import StepRow
from liteq.serialization import decode, encode
from liteq.utils.misspelt import LIKELY, nearest
from liteq.workflow.calling.scope import NO_NAMES, Scope
from liteq.workflow.history.codec import hashes_under
from liteq.workflow.history.places import Place, describe, show

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.workflow.history.machine import Machine

__all__ = ["RecordedRun", "RecordedScope", "Recording", "Replay"]

ANSWERED = frozenset({"step", "call", "spawn", "map", "send"})
WAITS = frozenset({"event", "approval"})
NOT_OF_A_TEST: dict[str, Any] = {"marks": None, "memo": 0, "due_ms": None, "waited": None}


class RecordedRun(NamedTuple):
    """A run of an export. `began_ms`: when it was first executed, in ms since the epoch."""

    id: str
    name: str
    given: Any  # its arguments, as plain data
    began_ms: int
    rows: list[StepRow]


def _run_of(document: Mapping[str, Any]) -> RecordedRun:
    message, run = document["message"], document["run"]
    rows = [StepRow(**step) for step in document["steps"]]
    rows.sort(key=lambda row: (row.started_ms, row.scope, row.pos))
    began_ms = run["gen_ms"] or run["started_ms"] or message["created_ms"]
    try:
        given = decode(message["payload"])
    except BadMessage:  # in an envelope
        given = None
    return RecordedRun(message["id"], message["task"], given, began_ms, rows)


class Recording:
    """The runs of an export. `live`: steps that are executed all the same, by name or the last part of it.

    Raises LookupError for a name in `live` that is misspelt.
    """

    def __init__(self, documents: Iterable[Mapping[str, Any]], live: Sequence[str] = ()) -> None:
        if isinstance(live, str):
            raise TypeError(f"live is a list of names, not {live!r}")
        # Of a step that was sent, the run that called it has the result; its own has no call.
        self.runs = [_run_of(one) for one in documents if not one["run"]["step"]]
        self.live = frozenset(str(getattr(one, "name", one)) for one in live)
        self._replays: dict[str, Replay] = {}

    @classmethod
    def parsed(cls, text: bytes, where: str, live: Sequence[str] = ()) -> Recording:
        """The recording of an export's lines. Raises ValueError for one that is none, with its number."""
        documents = []
        for n, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    document = decode(line)
                    _run_of(document)
                except (BadMessage, KeyError, TypeError) as exc:
                    raise ValueError(
                        f"{where}, line {n}: not a run that `liteq workflow export` wrote: "
                        f"{type(exc).__name__}: {exc!s:.200}"
                    ) from None
                documents.append(document)
        return cls(documents, live)

    def check(self, known: Iterable[str]) -> None:
        """Raise LookupError for a name in `live` that looks like another one, and is none."""
        names = {*known, *(row.name for run in self.runs for row in run.rows)}
        parts = {part for name in names for part in parts_of(name)}
        for one in sorted(self.live - parts):
            near = nearest(one, parts, LIKELY)
            if near is not None:
                raise LookupError(f"live: there is no step, task or workflow {one!r}: did you mean {near!r}?")

    def is_live(self, name: str) -> bool:
        return not self.live.isdisjoint(parts_of(name))

    @property
    def began_ms(self) -> int | None:
        """When the first of the runs was begun."""
        return min((run.began_ms for run in self.runs), default=None)

    def rewind(self) -> None:
        """Forget what was answered: a new test begins."""
        self._replays.clear()

    def find(self, name: str, given: Any) -> RecordedRun | None:
        """The run of this workflow that had these arguments, else the first one of it."""
        runs = [run for run in self.runs if run.name == name]
        return next((run for run in runs if run.given == given), runs[0] if runs else None)

    def as_recorded(self, flow: Any, args: Sequence[Any], kwargs: Mapping[str, Any], clock: FakeClock) -> Any:
        """`flow`, to be started as the recorded run of these arguments was: under its id, which ids and keys of its
        calls are made of, and at its time. As it is where that id is given, or in use.
        """
        try:
            given = decode(encode(list(flow.codec.dump(args, kwargs)), what="arguments"))
        except NotSerializable:  # the start itself says so
            given = None
        found = self.find(flow.name, given)
        if found is None or flow.asked.id is not None or flow.app.storage.runs.find(found.id) is not None:
            return flow
        clock.advance_to(found.began_ms)
        return flow._asking(replace(flow.asked, id=found.id))

    def replay(self, run_id: str, name: str, given: Any) -> Replay:
        """The answers for one run of a test: of the recorded run under its id, else of that which `find` finds first.

        The same object for each activation of the run.
        """
        found = self._replays.get(run_id)
        if found is None:
            first = next((run for run in self.runs if run.id == run_id), None) or self.find(name, given)
            runs = [run for run in self.runs if run.name == name and run is not first]
            found = self._replays[run_id] = Replay(self, run_id, ([first] if first else []) + runs)
        return found

    def feed(self, app: App, due_ms: int | None) -> bool:
        """Send the recorded event, or take the recorded decision, that ends one of the waits of a test; whether it did.

        That which came first in the recording, at its time; none where something is due at `due_ms` before.
        """
        runs, found = app.storage.runs, []
        for run_id, replay in self._replays.items():
            for step in runs.steps(run_id):
                row = step.row
                if row.ended_ms is None and row.kind in WAITS and (one := replay.wait(row.kind, row.name, row.key)):
                    found.append((one.ended_ms or 0, run_id, one))
        if not found:
            return False
        at_ms, run_id, row = min(found, key=lambda one: one[:2])
        if due_ms is not None and due_ms < at_ms:
            return False
        if isinstance(app.clock, FakeClock):
            app.clock.advance_to(at_ms)
        self._replays[run_id].rows.remove(row)
        payload = row.output or b"null"
        if row.kind == "event":
            runs.send(run_id, row.name, payload)
        else:
            said = orjson.loads(payload)
            data = None if said["data"] is None else orjson.dumps(said["data"])
            runs.approve(run_id, row.name, ok=said["ok"], by=said["by"], comment=said["comment"] or "", data=data)
        return True

    def has_run(self, run_id: str | None) -> bool:
        """Whether the run of this id, a child of another, is recorded itself."""
        return any(run.id == run_id for run in self.runs)


def parts_of(name: str) -> set[str]:
    """The names by which a step may be called: its own, the last part, and of one that a framework has made its kind.

    `support__model.request` is "support__model.request", "request", "model.request" and "model".
    """
    _, _, inner = name.rpartition("__")
    return {name, name.rpartition(".")[2], inner, re.split(r"[.\[]", inner, maxsplit=1)[0] if "__" in name else name}


class RecordedScope(Scope):
    """The place of a body's code in a test with a recording."""

    __slots__ = ()

    def place(
        self,
        kind: str,
        name: str,
        arghash: bytes | None = None,
        key: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NO_NAMES,
    ) -> tuple[Place, StepRow | None]:
        """As of a Scope; a call that history does not hold is answered by the recording, and is in history then."""
        place, row = super().place(kind, name, arghash, key, args, kwargs)
        if row is None and kind != "map":  # whose items are answered one by one
            row = self.machine.recorded.answer(self, place, kind, name, arghash, key, args, kwargs)
        return place, row


class Replay:
    """The answers of recorded runs to one run of a test, each once."""

    scope = RecordedScope  # the class of the scopes of its body

    def __init__(self, recording: Recording, run_id: str, runs: Sequence[RecordedRun]) -> None:
        self.recording = recording
        self.run_id = run_id
        self.others = [run.id for run in runs if run.id != run_id]
        self.rows = [row for run in runs for row in run.rows]
        self.used: set[int] = set()  # by `id`, as equal rows are different calls

    def answer(
        self,
        scope: Scope,
        place: Place,
        kind: str,
        name: str,
        arghash: bytes | None,
        key: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = NO_NAMES,
    ) -> StepRow | None:
        """The row of a call, written as if it had been run; None for one that is live. Leaves the body without one."""
        machine = scope.machine
        if kind not in ANSWERED or self._is_live(machine, name):
            return None
        hashes = [arghash, *hashes_under(self.others, machine.run_id, args, kwargs)]
        found = self.take(place, kind, name, key, hashes, lenient=_hides(machine, name))
        if found is None or found.ended_ms is None:
            last = name.rpartition(".")[2]
            text = self.missing(place, kind, name, key, hashes)
            machine.leave(  # and not raised: a framework would catch it
                NotRecorded(f"{text}. Record it anew with `pytest --liteq-record`, or let it run: live=[{last!r}]")
            )
        if found.child is not None and kind != "send" and self.recording.has_run(found.child):
            return None  # its own steps are recorded, and it is executed by these
        machine.front(scope, place)
        clock = machine.app.clock
        if isinstance(clock, FakeClock):
            clock.advance_to(found.ended_ms)
        row = found._replace(scope=place[0], pos=place[1], key=key, arghash=arghash, **NOT_OF_A_TEST)
        machine.checkpoint(row)
        machine.rows[place] = row
        return row

    def _is_live(self, machine: Machine, name: str) -> bool:
        mocks = machine.mocks or {}
        return name in mocks or name.rpartition(".")[2] in mocks or self.recording.is_live(name)

    def take(
        self, place: Place, kind: str, name: str, key: str | None, hashes: Iterable[bytes | None], *, lenient: bool
    ) -> StepRow | None:
        """The recorded row for a call, which is used up by that; None where there is none.

        `lenient`: any arguments will do, since those of the recording are hidden.
        """
        keys, wanted = self._keys(key), set(hashes)
        fits = [row for row in self._free() if row.kind == kind and row.name == name and row.key in keys]
        exact = [row for row in fits if row.arghash in wanted] or (fits if lenient else [])
        if not exact:
            return None
        row = next((row for row in exact if (row.scope, row.pos) == place), exact[0])
        self.used.add(id(row))
        return row

    def _free(self) -> list[StepRow]:
        return [row for row in self.rows if id(row) not in self.used]

    def _keys(self, key: str | None) -> set[str | None]:
        return {key} if key is None else {key, *(key.replace(self.run_id, id_) for id_ in self.others)}

    def wait(self, kind: str, name: str, key: str | None) -> StepRow | None:
        """The recorded end of a wait for an event or an approval; None where it ended by time, or not at all."""
        keys = self._keys(key)
        for row in self.rows:
            if row.kind == kind and row.name == name and row.key in keys and row.output is not None:
                return row
        return None

    def missing(self, place: Place, kind: str, name: str, key: str | None, hashes: Iterable[bytes | None]) -> str:
        """The text of NotRecorded: the nearest call, and what differs."""
        call = describe(StepRow(*place, kind, name))
        keyed = f" with the key {key!r}" if key is not None else ""
        start = f"the recording has no {call}{keyed} as it is called at {show(place)}"
        row, differs = self._nearest(place, kind, name, key, set(hashes))
        if row is None:
            end = "it holds no calls of this workflow" if not self.rows else "nothing in it is like it"
        else:
            end = f"the nearest is {describe(row)} at {show((row.scope, row.pos))}, and what differs: {differs}"
        return f"{start}; {end}"

    def _nearest(
        self, place: Place, kind: str, name: str, key: str | None, hashes: set[bytes | None]
    ) -> tuple[StepRow | None, str]:
        keys = self._keys(key)
        rows = [row for row in self.rows if row.kind == kind]
        free = [row for row in self._free() if row.kind == kind]
        named = [row for row in rows if row.name == name]
        same = [row for row in named if row.key in keys and row.arghash in hashes]
        if same:
            times = "once" if len(same) == 1 else f"{len(same)} times"
            return same[0], f"place (it was called {times}, and this is one call more)"
        there = [row for row in free if (row.scope, row.pos) == place]
        if others := [row for row in named if row.key in keys]:
            left = [row for row in others if id(row) not in self.used]
            at = [row for row in left or others if (row.scope, row.pos) == place]
            return (at or left or others)[0], "other arguments"
        if others := [row for row in named if row.arghash in hashes]:
            return others[0], f"key ({others[0].key!r}, not {key!r})"
        if named:
            return named[0], f"key ({named[0].key!r}, not {key!r}), other arguments"
        near = nearest(name, {row.name for row in rows}, 0.0)
        likely = there or [row for row in free or rows if row.name == near] or free
        return (likely[0], f"name ({likely[0].name!r}, not {name!r})") if likely else (None, "")


def _hides(machine: Machine, name: str) -> bool:
    """Whether arguments of a call may be hidden in the recording: it, or its workflow, has sensitive ones."""
    app = machine.app
    known = app.steps_of_workflows.get(name) or app.tasks.find(name)
    return bool(getattr(known, "sensitive", ()) or getattr(machine.flow, "sensitive", ()))
