"""Canvases and coded runs as documents, both found by any id of theirs: progress, graph, rows.

A canvas or a run is seen by the queue of its root. Members in queues that the viewer does not see are a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from liteq.context import App
from liteq.exceptions import RunNotFound
from liteq.message import Flag
from liteq.monitor.access.failing import error_document
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.graphs.canvas_graph import canvas_graph
from liteq.monitor.graphs.graph import Hung, Node, Parallel, Series, fold, nodes
from liteq.monitor.graphs.graph_document import edges_document, series_document
from liteq.monitor.graphs.run_graph import body, graph
from liteq.monitor.runs import runs as shown
from liteq.monitor.runs.run_export import within
from liteq.states import FINISHED, State
from liteq.storage.reading.lineage import Kin
from liteq.storage.runs.records import Approval, RunRecord, RunStep
from liteq.utils.records import NamedTuple
from liteq.utils.text import times

__all__ = ["ROWS", "Workflow", "look", "runs_seen", "step_documents", "workflow", "workflow_document"]

OPENED: Final = 50  # runs in a run whose steps are read
ROWS: Final = 100  # of one page of the table
STEPS: Final = 500  # the last of a run, in its document
FAILED: Final = frozenset({State.DEAD, State.UPSTREAM_FAILED})
OUTCOMES: Final = {
    State.SUCCEEDED: "done", State.DEAD: "failed", State.UPSTREAM_FAILED: "failed", State.CANCELLED: "cancelled",
    State.LEASED: "running",
}  # fmt: skip


class Workflow(NamedTuple):
    """A canvas or a run, as a viewer sees it. `series` is its graph, folded. `run` and its `steps`: of a coded one.

    `elsewhere`: how many of its messages are in queues that the viewer does not see. `complete`: all rows were read.
    """

    id: str
    root: str
    name: str
    queue: str
    series: Series
    rows: list[Kin]
    elsewhere: int
    complete: bool
    run: RunRecord | None
    steps: list[RunStep]

    @property
    def kind(self) -> str:
        """The word "run" or "canvas"."""
        return "canvas" if self.run is None else "run"


def look(app: App, id_: str, see: Sight = ALL, *, depth: int = 3) -> Workflow | None:
    """The workflow that `id_` is a part of, by the id of a run, a message or a group; None: not there, or not seen.

    A run has a graph of its own, also where another one called it. Runs in runs are opened down to `depth`.
    """
    storage = app.storage
    found = storage.views.lineage(id_)
    if found is None or not found.rows:
        return None
    top = next((row for row in found.rows if row.id == found.root), found.rows[0])
    if not see.sees(top.queue):
        return None
    rows = [row for row in found.rows if see.sees(row.queue)]
    elsewhere = len(found.rows) - len(rows)
    run = storage.runs.find(id_) or storage.runs.find(found.root)
    if run is not None and not see.sees(run.queue):
        return None
    steps = _steps(app, run.id) if run is not None else []
    if run is not None:
        run = shown.as_seen(app, run, see)
        rows = _below(rows, run.id)
    series = canvas_graph(rows, found.groups)
    opening = _Opening(app, series, depth)
    series = opening.run(run, steps) if run is not None else opening.canvas()
    series = fold(series)
    name = run.name if run is not None else top.task
    queue = run.queue if run is not None else top.queue
    return Workflow(
        found.root if run is None else run.id,
        found.root,
        name,
        queue,
        series,
        rows,
        elsewhere,
        found.complete,
        run,
        steps,
    )


def runs_seen(app: App, runs: Iterable[RunRecord], see: Sight) -> list[RunRecord]:
    """Those of `runs` that a viewer sees: by their own queue, and by that of the workflow's root where it is there."""
    mine = [run for run in runs if see.sees(run.queue)]
    if see.queues is None:
        return mine
    roots = app.storage.reader.find_many(list({run.root_id for run in mine if run.root_id is not None}))
    return [run for run in mine if run.root_id not in roots or see.sees(roots[run.root_id].queue)]


def _steps(app: App, id_: str) -> list[RunStep]:
    try:
        return app.storage.runs.steps(id_)
    except RunNotFound:  # its time was over between two looks
        return []


def _below(rows: Sequence[Kin], id_: str) -> list[Kin]:
    """The message `id_` and those that it sent, and so on; all of them where it is the root."""
    if all(row.root_id == id_ for row in rows if row.id != id_):
        return list(rows)
    found = {id_}
    for row in rows:  # a message is written after the one that sent it
        if row.parent_id in found:
            found.add(row.id)
    return [row for row in rows if row.id in found]


# -- the graph ---------------------------------------------------------------------------------------------------------


class _Opening:
    """Puts the steps of runs into the graph of the messages that they sent."""

    def __init__(self, app: App, series: Series, depth: int) -> None:
        self.app = app
        self.series = series
        self.depth = depth
        self.left = OPENED
        self.by_id = {node.id: node for node in nodes(series) if node.id is not None}

    def canvas(self) -> Series:
        """The graph of a canvas, with the steps of the runs in it."""
        for node in [node for node in self.by_id.values() if node.kind == "run"]:
            self._open(node, 1)
        return self.series

    def run(self, run: RunRecord, steps: Sequence[RunStep]) -> Series:
        """The graph of a run, with its children below the calls that started them."""
        own = self.by_id.get(run.id)
        children = _Children(own.hung if own is not None else [])
        drawn = graph(run, steps, self._inside(children, 1))
        start = drawn.parts[0]
        if isinstance(start, Node) and self.depth > 0:
            start.hung.extend(children.left())
        return drawn

    def _inside(self, children: _Children, level: int) -> Callable[[str], Series | None]:
        def inside(id_: str) -> Series | None:
            found = children.take(id_)
            if found is None or level > self.depth:
                return None
            for node in list(nodes(found)):
                if node.kind == "run":
                    self._open(node, level)
            return _told(found, id_)

        return inside

    def _open(self, node: Node, level: int) -> None:
        """Hang the steps of the run `node` below it, once."""
        if level > self.depth or self.left <= 0 or node.id is None or any(one.kind == "steps" for one in node.hung):
            return
        self.left -= 1
        children = _Children(node.hung)
        steps = body(_steps(self.app, node.id), self._inside(children, level + 1))
        node.hung[:] = [*([Hung("steps", steps)] if steps.parts else []), *children.left()]


class _Children:
    """The messages that a run has sent, by their ids."""

    def __init__(self, hung: Iterable[Hung]) -> None:
        self._hung = list(hung)
        self._place = {
            node.id: i for i, one in enumerate(self._hung) for node in nodes(one.series) if node.id is not None
        }
        self._taken = set[int]()

    def take(self, id_: str) -> Series | None:
        """The series that the message is in, for the call that is answered by it."""
        place = self._place.get(id_)
        if place is None:
            return None
        self._taken.add(place)
        return self._hung[place].series

    def left(self) -> list[Hung]:
        """Those that no call waits for."""
        return [one for i, one in enumerate(self._hung) if i not in self._taken]


def _told(found: Series, id_: str) -> Series | None:
    """The inside of a call: None of a plain task, which its call says all of."""
    if len(found.parts) == 1 and isinstance(found.parts[0], Node) and found.parts[0].id == id_:
        inner = [one.series for one in found.parts[0].hung]
        if not inner:
            return None
        return inner[0] if len(inner) == 1 else Series([Parallel(inner)])
    return found


# -- the document ------------------------------------------------------------------------------------------------------


def workflow(
    app: App, id_: str, see: Sight = ALL, *, after: int = 0, limit: int = ROWS, state: str = "", group: str = ""
) -> dict[str, Any] | None:
    """The workflow that `id_` is a part of, as a document; None: not there, or not seen.

    `rows` is a page of its messages, those behind the mark `after`, of one `state` or one `group`.
    """
    found = look(app, id_, see)
    return (
        None
        if found is None
        else workflow_document(app, found, see, after=after, limit=limit, state=state, group=group)
    )


def workflow_document(
    app: App, found: Workflow, see: Sight = ALL, *, after: int = 0, limit: int = ROWS, state: str = "", group: str = ""
) -> dict[str, Any]:
    """The workflow that `look` has found, as a JSON object."""
    top = next((row for row in found.rows if row.id == found.root), found.rows[0] if found.rows else None)
    fits = [row for row in found.rows if row.seq > after and state in ("", row.state) and group in ("", row.group_id)]
    page = fits[:limit]
    return {
        "id": found.id,
        "root": found.root,
        "kind": found.kind,
        "name": found.name,
        "queue": found.queue,
        "status": found.run.status if found.run is not None else canvas_status(row.state for row in found.rows),
        "created": found.run.created_ms if found.run is not None else top.created_ms if top is not None else None,
        "progress": progress(found),
        "nodes": series_document(found.series),
        "edges": edges_document(found.series),
        "rows": {
            "items": [row_document(app, row) for row in page],
            "next": page[-1].seq if len(fits) > limit else None,
            "note": "" if found.complete else f"the first {len(found.rows):,} messages",
        },
        "elsewhere": found.elsewhere,
        "complete": found.complete,
        "run": run_part(app, found, see) if found.run is not None else None,
    }


def progress(found: Workflow) -> dict[str, Any]:
    """How far it is: a canvas by its messages, a run by the steps that it has begun."""
    if found.run is not None:
        counts = Counter(one.status for one in found.steps)
        words = {"retrying": "waiting", "timed_out": "failed"}
        outcomes = Counter[str]()
        for status, n in counts.items():
            outcomes[words.get(status, status)] += n
        return _progress(outcomes, "steps", exact=True)
    outcomes = Counter(OUTCOMES.get(State(row.state), "waiting") for row in found.rows)
    return _progress(outcomes, "tasks", exact=found.complete)


def _progress(outcomes: Counter[str], of: str, *, exact: bool) -> dict[str, Any]:
    names = ("done", "failed", "running", "waiting", "cancelled")
    return {"of": of, "total": {"n": outcomes.total(), "exact": exact}, **{name: outcomes[name] for name in names}}


def canvas_status(states: Iterable[str]) -> str:
    """A canvas in one word: failed, running, waiting, cancelled or succeeded."""
    found = {State(state) for state in states}
    open_ = found - FINISHED
    if State.LEASED in open_:
        return "running"
    if found & FAILED:
        return "failed"
    if open_:
        return "waiting"
    return "cancelled" if State.CANCELLED in found else "succeeded"


def row_document(app: App, row: Kin) -> dict[str, Any]:
    """A message of a workflow as a JSON object, without its arguments; its error with what is sensitive masked."""
    error = error_document(app, row)
    if error is not None:
        error["message"] = error["message"][:1_000]
    found: dict[str, Any] = {
        "id": row.id, "task": row.task, "queue": row.queue, "state": row.state, "priority": row.priority,
        "worker": row.worker, "retries": row.retries, "root_id": row.root_id, "parent_id": row.parent_id,
        "awaits": row.awaits, "group_id": row.group_id, "position": row.position, "error": error,
        "is_run": bool(row.flags & Flag.RUN) and not row.flags & Flag.STEP,
    }  # fmt: skip
    return found | times(created=row.created_ms, due=row.due_ms, started=row.started_ms, finished=row.finished_ms)


HIDDEN: Final = "(hidden: it needs the right `payloads`)"


def run_part(app: App, found: Workflow, see: Sight) -> dict[str, Any]:
    """A coded run: its version, what it waits for, its steps, values, approvals."""
    run = found.run
    assert run is not None, "a canvas has no steps"
    runs = app.storage.runs
    document = shown.run_document(app, run, with_args=see.payloads)
    values = {key: shown.value(data) if see.payloads else HIDDEN for key, data in runs.state(run.id).items()}
    return {
        **document,
        "waiting_line": shown.waiting_line(run),
        "now": shown.now_executing(run),
        "steps": step_documents(app, found, see, after=max(0, len(found.steps) - STEPS)),
        "steps_left_out": max(0, len(found.steps) - STEPS),
        "memo_hits": sum(1 for one in found.steps if one.row.memo),
        "values": values,
        "streams": [{"name": name, "chunks": n} for name, n in app.storage.streams.names(run.id)],
        "inbox": [{"name": name, **times(at=at)} for name, at in runs.inbox(run.id)],
        "approvals": [
            {**_approval(one, run, see), **times(since=one.since_ms, due=one.due_ms)} for one in runs.approvals(run.id)
        ],
        **_at(
            due=run.due_ms, deadline=run.deadline_ms, created=run.created_ms, started=run.started_ms,
            finished=run.finished_ms,
        ),
    }  # fmt: skip


def _at(**ms: int | None) -> dict[str, Any]:
    """Each time as everywhere, and by the older name of its number: {"due", "due_iso", "due_ms"}."""
    return {**times(**ms), **{f"{name}_ms": at for name, at in ms.items()}}


def _approval(one: Approval, run: RunRecord, see: Sight) -> dict[str, Any]:
    document = shown.approval_document(one, run.name)
    if not see.payloads and document["details"] is not None:
        document["details"] = HIDDEN
    return document


def step_documents(
    app: App, found: Workflow, see: Sight, *, after: int = 0, limit: int = STEPS
) -> list[dict[str, Any]]:  # fmt: skip
    """The steps of a coded run behind the first `after`, `limit` at most."""
    assert found.run is not None, "a canvas has no steps"
    hide = shown.hide_of(app, found.run)
    return [_step(one, see, hide) for one in found.steps[after : after + limit]]


def _step(one: RunStep, see: Sight, hide: Callable[[str], str] | None) -> dict[str, Any]:
    document = shown.step_document(one._replace(row=one.row._replace(error=within(one.row.error, hide))))
    if not see.payloads and document["output"] is not None:
        document["output"] = HIDDEN
    return document | _at(started=one.row.started_ms, finished=one.row.ended_ms, due=one.row.due_ms)
