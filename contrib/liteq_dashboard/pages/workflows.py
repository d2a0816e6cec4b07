"""Canvases and coded runs: the list of both, one of them as graph, Gantt or table, and the acts on a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from liteq.exceptions import LiteqError, StorageError
from liteq.message import new_id
from liteq.monitor.runs.workflow_list import workflows
from liteq.monitor.runs.workflows import ROWS, Workflow, look, workflow_document
from liteq.operating import act
from liteq.states import State
from liteq.utils.json_text import from_json
from liteq.utils.text import place_of
from liteq_dashboard.acts.acting import actor, note, tried
from liteq_dashboard.acts.hands import RIGHTS_OF_RUNS as RIGHTS
from liteq_dashboard.drawn import gantt
from liteq_dashboard.drawn.graph import FORMATS, attachment, drawing, items, node_link
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html, json_answer, problem, redirect
from liteq_dashboard.texts import TEXTS

__all__ = ["ROUTES"]

VIEWS = ("graph", "gantt", "table")
ATTEMPTS = 100  # messages of which the attempts are read
UNKNOWN = "no workflow has this id, or you do not see its queue"
FLOW = "liteq.flow"
# Acts that a page offers for a run, by its status. The server decides again.
OFFERED = {
    "queued": ("pause", "cancel", "terminate", "send"),
    "running": ("pause", "cancel", "terminate", "send"),
    "waiting": ("pause", "cancel", "terminate", "send", "rewind", "fork"),
    "paused": ("resume", "cancel", "terminate", "send", "rewind", "fork"),
    "stuck": ("resume", "cancel", "terminate", "send", "rewind", "fork"),
    "succeeded": ("fork", "rewind"),
    "failed": ("retry", "fork", "rewind"),
    "cancelled": ("fork", "rewind"),
}


# Done and noted in one transaction, by the act of that name.
AS_AN_ACT = {
    "cancel": "cancel", "terminate": "terminate", "retry": "requeue", "pause": "pause", "resume": "resume",
    "rewind": "rewind",
}  # fmt: skip


def index(request: Request, reader: Reader) -> Response:
    """The newest canvases and runs."""
    found = workflows(reader.app, request.get("after"), see=reader.sight)
    return html(request, "workflows.html", part=request.get("part"), found=found, after=request.get("after"))


def _whole(request: Request, reader: Reader) -> Workflow | None:
    return look(reader.app, request.path_args["id"], reader.sight)


def show(request: Request, reader: Reader) -> Response:
    """One workflow, found by any id of it."""
    found = _whole(request, reader)
    if found is None:
        return problem(404, UNKNOWN)
    view = request.get("view") if request.get("view") in VIEWS else "graph"
    state, group = request.get("state"), request.get("group")
    try:
        document = _document(request, reader, found)
    except ValueError as exc:
        return problem(400, str(exc))
    href = node_link(request.base, found.id)
    run = document["run"]
    return html(
        request, "workflow.html", part=request.get("part"), it=document, run=run, view=view, state=state, group=group,
        views=[(name, link(request.base, "workflows", found.id, view=name)) for name in VIEWS],
        formats=[(name, link(request.base, "workflows", found.id, "file", format=name)) for name in FORMATS],
        drawn=drawing(request.base, found) if view == "graph" else "",
        listed=items(found.series, href) if view == "graph" else [],
        times=_gantt(reader, found) if view == "gantt" else None,
        states=sorted(Counter(row.state for row in found.rows).items()),
        acts=_acts(request, found),
        failed=sum(row.state == State.DEAD for row in found.rows) if found.run is None else 0,
        open_=document["progress"]["waiting"] if found.run is None else 0,
        requeue=f"root:{found.root} state:dead", rows_total=len(found.rows), flow=_flow(reader, found),
    )  # fmt: skip


def _flow(reader: Reader, found: Workflow) -> Mapping[str, Any] | None:
    """The report of a declared flow; None for any other run, and where its package is not installed."""
    if found.run is None or found.run.name != FLOW:
        return None
    try:
        from liteq_flow.report import view
    except ModuleNotFoundError:
        return None
    return view(reader.app, found.run.id)


def _gantt(reader: Reader, found: Workflow) -> Mapping[str, Any]:
    tried = [row for row in found.rows if row.retries or row.crashes][:ATTEMPTS]
    attempts = {
        row.id: [gantt.Attempt(one.started_ms, one.ended_ms, one.outcome) for one in reader.app.storage.attempts(row.id)
                 if one.started_ms is not None]
        for row in tried
    }  # fmt: skip
    chart = gantt.chart(found.series, reader.app.clock.now_ms(), attempts)
    svg = gantt.as_svg(chart, found.name).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    return {"svg": Markup(svg), "lanes": chart.lanes, "left_out": chart.left_out}  # noqa: S704 - escaped by gantt


def _acts(request: Request, found: Workflow) -> list[str]:
    if found.run is None:
        return []
    offered = OFFERED.get(found.run.status, ())
    return [name for name in RIGHTS if name in offered and request.viewer.can(RIGHTS[name])]


def file(request: Request, reader: Reader) -> Response:
    """The graph as a file to be kept."""
    found = _whole(request, reader)
    form = request.get("format", "svg")
    if found is None:
        return problem(404, UNKNOWN)
    if form not in FORMATS:
        return problem(400, f"unknown format {form!r:.80}; use one of {', '.join(FORMATS)}")
    return attachment(found, form)


# -- acts on a run -----------------------------------------------------------------------------------------------------


def ask(request: Request, reader: Reader) -> Response:
    """The page that asks before an act: what it does, what it takes, the reason."""
    found = _whole(request, reader)
    name = request.path_args["act"]
    if found is None or found.run is None:
        return problem(404, "there is no such run, or you do not see its queue")
    if name not in RIGHTS:
        return problem(404, f"unknown act {name!r:.80}; use one of {', '.join(RIGHTS)}")
    if not request.viewer.can(RIGHTS[name]):
        return problem(403, f"this needs the right {RIGHTS[name]!r}, which you do not have")
    if name not in OFFERED.get(found.run.status, ()):
        return problem(409, f"the run is {found.run.status}: it cannot be asked to {name} now")
    return html(request, "workflow_act.html", it=found, run=found.run, act=name, new=new_id(), steps=found.steps[-500:])


def _act(name: str) -> Any:
    def page(request: Request, reader: Reader) -> Response:
        found = _whole(request, reader)
        if found is None or found.run is None:
            return problem(404, "there is no such run, or you do not see its queue")
        id_ = found.run.id
        try:
            goes_to, said = _done(name, request, reader, id_)
        except _Wrong as exc:
            return problem(422, str(exc))
        except StorageError:  # it may be tried again
            raise
        except (LiteqError, ValueError) as exc:
            return problem(409, str(exc))
        if name not in AS_AN_ACT:
            note(request, reader, name, id_, found.run.queue)
        return redirect(request, link(request.base, "workflows", goes_to), said)

    page.__doc__ = f"Ask the run to {name}."
    return page


class _Wrong(ValueError):
    """Raised when a field of the form cannot be used."""


def _done(name: str, request: Request, reader: Reader, id_: str) -> tuple[str, str]:
    """Do it: the run to look at next, and what is said. Raises LiteqError, ValueError."""
    run: Any = reader.app.Run(id_)
    said: Mapping[str, str] = TEXTS["act_done"]  # type: ignore[assignment]
    if name in AS_AN_ACT:
        given: dict[str, Any] = {"step": _step(request)} if name == "rewind" else {}
        by = actor(request, "page", request.posted("reason"))
        act(reader.app, AS_AN_ACT[name], id_, by=by, see=reader.sight, **given)
        return id_, said[name].format(*given.values())
    match name:
        case "fork":
            step = _step(request)
            made = run.fork(step, id=request.posted("new_id").strip() or None)
            return made.id, said[name].format(id_, step)
        case "send":
            return id_, _sent(request, run, said)
    return id_, said[name]


def _sent(request: Request, run: Any, said: Mapping[str, str]) -> str:
    event, text = request.posted("event").strip(), request.posted("payload").strip()
    if not event:
        raise _Wrong("an event has a name: fill in the field")
    try:
        payload = from_json(text.encode("utf-8", "replace")) if text else None
    except ValueError as exc:
        raise _Wrong(f'the payload is to be JSON ({exc}); write a text as "text"') from None
    # The same form sent twice is one event.
    run.send(event, payload, dedup=request.posted("nonce") or None)
    return said["send"].format(event)


def _step(request: Request) -> int:
    text = request.posted("step").strip()
    if not text.isdecimal() or not 1 <= int(text) < 1 << 31:
        raise _Wrong(f"a step is a number from 1, not {text!r:.80}")
    return int(text)


# -- JSON --------------------------------------------------------------------------------------------------------------


def api_index(request: Request, reader: Reader) -> Response:
    """The newest canvases and runs, as JSON."""
    after = request.get("after")
    return tried(lambda: json_answer(workflows(reader.app, after, see=reader.sight, limit=request.limit(50))))


def api_show(request: Request, reader: Reader) -> Response:
    """One workflow as JSON; with `format`, its graph as a file."""
    form = request.get("format", "json")
    if form not in {"json", *FORMATS}:
        return problem(400, f"unknown format {form!r:.80}; use one of json, {', '.join(FORMATS)}")
    found = _whole(request, reader)
    if found is None:
        return problem(404, UNKNOWN)
    if form != "json":
        return attachment(found, form)
    return tried(lambda: json_answer(_document(request, reader, found)))


def _document(request: Request, reader: Reader, found: Workflow) -> dict[str, Any]:
    """The workflow, with the page of its messages that is asked for. Raises ValueError for a page that is none."""
    after, limit = place_of(request.get("after")), request.limit(ROWS)
    state, group = request.get("state"), request.get("group")
    return workflow_document(reader.app, found, reader.sight, after=after, limit=limit, state=state, group=group)


ROUTES = (
    Route("GET", "workflows", "view", index),
    Route("GET", "workflows/{id}", "view", show),
    Route("GET", "workflows/{id}/file", "view", file),
    Route("GET", "workflows/{id}/act/{act}", "view", ask),
    *(Route("POST", f"workflows/{{id}}/{name}", right, _act(name)) for name, right in RIGHTS.items()),
    Route("GET", "api/v1/workflows", "view", api_index),
    Route("GET", "api/v1/workflows/{id}", "view", api_show),
)
