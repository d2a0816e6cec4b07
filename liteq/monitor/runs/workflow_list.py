"""The newest canvases and coded runs together, a page at a time, by indexes and within bounds."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from liteq.context import App
from liteq.exceptions import RunNotFound
from liteq.monitor.access.sight import ALL, Sight
from liteq.monitor.messages import error_line
from liteq.monitor.runs.runs import as_seen, waiting_line
from liteq.monitor.runs.workflows import OUTCOMES, canvas_status, runs_seen
from liteq.states import State
from liteq.storage.reading.lineage import Kin, Lineage
from liteq.storage.runs.records import RunRecord
from liteq.utils.records import NamedTuple
from liteq.utils.text import times

__all__ = ["workflows"]

PAGE: Final = 50
MOST: Final = 100  # canvases and runs that are read at once
LOOKS: Final = 10  # pages that are looked through for one page of what a viewer may see
ENDED: Final = "-"  # in a mark: nothing more comes of this kind


class _Mark(NamedTuple):
    """Behind which canvas (by its root) and which run (by its id) a page begins; "" from the start."""

    root: str = ""
    run: str = ""

    @staticmethod
    def read(text: str) -> _Mark:
        root, _, run = text.partition(" ")
        return _Mark(root, run)

    def __str__(self) -> str:
        return f"{self.root} {self.run}"


def workflows(app: App, after: str = "", see: Sight = ALL, *, limit: int = PAGE) -> dict[str, Any]:
    """The newest canvases and runs: {"items", "next", "note"}; those behind the mark `after`, a `next` of before.

    A run's id can be chosen, so a page behind a run that was deleted since begins anew with the runs; the note says so.
    """
    mark, found, note = _Mark.read(after), list[dict[str, Any]](), ""
    for _ in range(LOOKS):
        try:
            page, mark = _page(app, mark, see, min(limit - len(found), MOST))
        except RunNotFound:
            mark, note = (
                mark._replace(run=""),
                "the run behind which this page was to begin is gone: the newest runs again",
            )
            continue
        found += page
        if len(found) >= limit or mark == (ENDED, ENDED):
            break
    return {"items": found, "next": None if mark == (ENDED, ENDED) else str(mark), "note": note}


def _page(app: App, mark: _Mark, see: Sight, limit: int) -> tuple[list[dict[str, Any]], _Mark]:
    """Up to `limit` canvases and runs behind `mark`, and the mark behind them."""
    storage = app.storage
    runs = [] if mark.run == ENDED else storage.runs.list(limit=limit, after=mark.run or None, waits=True)
    roots = [] if mark.root == ENDED else storage.views.canvases(after=mark.root or None, limit=limit)
    whole: list[tuple[int, RunRecord | Lineage]] = [(run.created_ms, run) for run in runs]
    whole += [(_top(one).created_ms, one) for one in roots]
    taken = [one for _, one in sorted(whole, key=lambda pair: -pair[0])[:limit]]
    n_runs = sum(1 for one in taken if isinstance(one, RunRecord))
    n_roots = len(taken) - n_runs
    root, run = mark
    if n_roots:
        root = roots[n_roots - 1].root
    if n_runs:
        run = runs[n_runs - 1].id
    if n_roots == len(roots) < limit:
        root = ENDED
    if n_runs == len(runs) < limit:
        run = ENDED
    own = {run.id for run in runs_seen(app, (one for one in taken if isinstance(one, RunRecord)), see)}
    seen = [one for one in taken if (one.id in own if isinstance(one, RunRecord) else see.sees(_top(one).queue))]
    items = [_of_run(as_seen(app, one, see)) if isinstance(one, RunRecord) else _of_canvas(one, see) for one in seen]
    return items, _Mark(root, run)


def _top(one: Lineage) -> Kin:
    return next((row for row in one.rows if row.id == one.root), one.rows[0])


def _of_run(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id, "kind": "run", "name": run.name, "queue": run.queue, "status": run.status,
        "version": run.version, "waits_for": waiting_line(run), "progress": None,
        "error": error_line(run.error) or None,
        "parent_id": run.parent_id, "tags": list(run.tags),
        **times(created=run.created_ms, started=run.started_ms, finished=run.finished_ms),
    }  # fmt: skip


def _of_canvas(one: Lineage, see: Sight) -> dict[str, Any]:
    rows = [row for row in one.rows if see.sees(row.queue)]
    counts = Counter(OUTCOMES.get(State(row.state), "waiting") for row in rows)
    total, status = len(rows), canvas_status(row.state for row in rows)
    largest = max(one.groups, key=lambda group: group.size, default=None)
    if not one.complete and largest is not None:  # its counter tells of all of them
        total = max(total, largest.size)
        counts["done"] = max(counts["done"], largest.size - largest.remaining - largest.failed)
        counts["failed"] = max(counts["failed"], largest.failed)
        counts["waiting"] = max(counts["waiting"], largest.remaining - counts["running"])
        status = (
            status
            if status == "running"
            else "failed"
            if largest.failed
            else "waiting"
            if largest.remaining
            else status
        )
    names = ("done", "failed", "running", "waiting", "cancelled")
    progress = {
        "of": "tasks", "total": {"n": total, "exact": one.complete}, **{name: counts[name] for name in names},
    }  # fmt: skip
    top = _top(one)
    return {
        "id": one.root, "kind": "canvas", "name": top.task, "queue": top.queue, "status": status,
        "version": None, "waits_for": "", "progress": progress, "error": None, "parent_id": None, "tags": [],
        **times(created=top.created_ms, started=None, finished=None),
    }  # fmt: skip
