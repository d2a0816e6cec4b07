"""The inside of a run's children, and of canvases: runs and canvases call each other, and one drawing shows both."""

from __future__ import annotations

from liteq.context import App
from liteq.message import Flag
from liteq.monitor.run_graph import Node, Parallel, Series, body, graph
from liteq.states import State
from liteq.storage.inspect import Record
from liteq.storage.runs.records import RunRecord

__all__ = ["Drawing"]

MOST = 300  # messages and runs that are looked at for one drawing
ALIASES = frozenset({"celery.chain", "celery.chord", "celery.group"})  # rows that stand for a canvas as a whole
STATUS = {
    State.SUCCEEDED: "done", State.DEAD: "failed", State.UPSTREAM_FAILED: "failed", State.CANCELLED: "cancelled",
    State.LEASED: "running",
}  # fmt: skip


class Drawing:
    """The graph of a run or a canvas, with the insides of children down to `depth`. Looks at `MOST` rows at most."""

    def __init__(self, app: App, *, depth: int = 1) -> None:
        self._storage = app.storage
        self._depth = depth
        self._left = MOST

    def of_run(self, run: RunRecord) -> Series:
        """The graph of a run."""
        return graph(run, self._storage.runs.steps(run.id), self._inside if self._depth > 0 else None)

    def of_canvas(self, id_: str) -> Series | None:
        """The graph of the canvas that the message or group `id_` is the end of; None where nothing is known of it."""
        parts = self._before(id_)
        return Series(parts) if parts else None

    def _inside(self, id_: str) -> Series | None:
        """The inside of a child; None of a plain task and of a step: their call says all."""
        record = self._look(id_)
        if record is None or self._depth <= 0:
            return None
        if record.flags & Flag.RUN and not record.flags & Flag.STEP:
            return self._of_child(id_)
        return Series(self._before(record.awaits)) if record.task in ALIASES and record.awaits else None

    def _of_child(self, id_: str) -> Series | None:
        if self._depth <= 0:
            return None
        self._depth -= 1
        try:
            return body(self._storage.runs.steps(id_), self._inside)
        finally:
            self._depth += 1

    def _look(self, id_: str) -> Record | None:
        self._left -= 1
        return self._storage.reader.find(id_) if self._left >= 0 else None

    def _before(self, id_: str | None) -> list[Node | Parallel]:
        """The messages that lead to `id_`, a message or a group, and that itself; the first one first."""
        found: list[Node | Parallel] = []
        while id_ is not None and self._left > 0:
            record = self._look(id_)
            if record is None:
                lanes = [Series(self._before(member.id)) for member in self._storage.reader.group_members(id_)]
                drawn = [lane for lane in lanes if lane.parts]
                found += [Parallel(drawn)] if drawn else []
                break  # what stands before a group stands before each of its members
            if record.task not in ALIASES:
                found += reversed(self._parts(record))
            id_ = record.awaits if record.awaits and " " not in record.awaits else None
        if self._left <= 0:
            found.append(Node(-1, "", "more", "done", detail="not drawn"))
        return found[::-1]

    def _parts(self, record: Record) -> list[Node | Parallel]:
        status = STATUS.get(record.state, "waiting")
        if record.flags & Flag.RUN and not record.flags & Flag.STEP:
            inner = self._of_child(record.id)
            node = Node(-1, "run", record.task, status, detail=f"run {record.id}")
            return [node, Parallel([inner])] if inner is not None and inner.parts else [node]
        return [Node(-1, "", record.task, status)]
