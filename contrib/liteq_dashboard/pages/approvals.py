"""The approvals: the list, the form of one, and the decision, which is made once."""

from __future__ import annotations

from typing import Any

from liteq.exceptions import AlreadyDecided, BadMessage, LiteqError, NoSuchApproval, RunNotFound
from liteq.monitor.access.sight import Sight
from liteq.monitor.runs.approvals import approval, approvals, decision
from liteq_dashboard.acts.acting import note
from liteq_dashboard.drawn.schema_form import Wrong, data_of, fields
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.looks import LOOK_COOKIE, look_of
from liteq_dashboard.render import cookies, html, json_answer, problem, redirect
from liteq_dashboard.texts import TEXTS

__all__ = ["ROUTES"]

UNKNOWN = "no such approval is known: nobody asked for it, its run has expired, or you do not see its queue"
PREFIX = "f."  # of the fields of the form: a schema may have one that is called "comment"


def _sight(request: Request, reader: Reader) -> Sight:
    """The sight of the viewer; a person who decides sees what was asked, also without `payloads`."""
    see = reader.sight
    return see._replace(payloads=see.payloads or request.viewer.can("approve"))


def index(request: Request, reader: Reader) -> Response:
    """The open approvals: what is due next, then the oldest."""
    found = approvals(reader.app, _sight(request, reader))
    return html(request, "approvals.html", part=request.get("part"), found=found)


def show(request: Request, reader: Reader) -> Response:
    """One approval with its form; of one that was decided, by whom."""
    return _shown(request, reader, 200)


def _looked_up(request: Request, reader: Reader) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The approval of this address while it is open, and its decision once it was decided; both None: unknown."""
    at = (reader.app, request.path_args["id"], request.path_args["title"], _sight(request, reader))
    found = approval(*at)
    return found, decision(*at) if found is None else None


def _shown(request: Request, reader: Reader, status: int, wrong: str = "", field: str = "") -> Response:
    run_id, title = request.path_args["id"], request.path_args["title"]
    found, decided = _looked_up(request, reader)
    if found is None and decided is None:
        return problem(404, UNKNOWN)
    asked = fields(found["schema"]) if found is not None else []
    if request.method == "POST":  # what was typed stays
        asked = [one._replace(value=request.posted(PREFIX + one.name, one.value)) for one in asked]
    return html(
        request, "approval.html", status, it=found, decided=decided, run_id=run_id, heading=title, form=asked,
        prefix=PREFIX, wrong=wrong, wrong_field=field, comment=request.posted("comment"),
        chosen={one.name: request.form.get(PREFIX + one.name, []) for one in asked},
    )  # fmt: skip


def decide(request: Request, reader: Reader) -> Response:
    """Decide it in the viewer's name. The same decision again changes nothing; another is told who decided."""
    found, decided = _looked_up(request, reader)
    if found is None and decided is None:
        return problem(404, UNKNOWN)
    ok = {"yes": True, "no": False}.get(request.posted("ok"))
    if ok is None:
        return _shown(request, reader, 422, "choose one of the two decisions")
    if found is None and decided is not None and (decided["timed_out"] or decided["ok"] != ok):
        return _shown(request, reader, 409)
    return _decided(request, reader, found, ok=ok)


def _decided(request: Request, reader: Reader, found: dict[str, Any] | None, *, ok: bool) -> Response:
    run_id, title = request.path_args["id"], request.path_args["title"]
    run: Any = reader.app.Run(run_id)
    word = TEXTS["approved" if ok else "rejected"]
    try:
        sent = {name.removeprefix(PREFIX): values for name, values in request.form.items() if name.startswith(PREFIX)}
        zone = look_of(cookies(request).get(LOOK_COOKIE, "")).tzinfo
        data = data_of(found["schema"], lambda name: sent.get(name, []), zone) if found and ok else None
        by, comment = request.viewer.name, request.posted("comment")
        if found is None:
            return redirect(request, "approvals", str(TEXTS["decided_before"]).format(title, word))
        new = run.approve(title, ok, by=by, comment=comment, data=data)
    except Wrong as exc:
        return _shown(request, reader, 422, str(exc), exc.field)
    except (AlreadyDecided, NoSuchApproval, RunNotFound) as exc:
        return _late(request, reader, exc)
    except (ValueError, BadMessage) as exc:
        return _shown(request, reader, 422, str(exc))
    if not new:
        return redirect(request, "approvals", str(TEXTS["decided_before"]).format(title, word))
    note(request, reader, "approve" if ok else "reject", run_id, str(found["queue"]), reason=f"{title}: {comment}")
    return redirect(request, link(request.base, "workflows", run_id), str(TEXTS["decided_now"]).format(title, word))


def _late(request: Request, reader: Reader, exc: LiteqError) -> Response:
    """Somebody was faster."""
    answer = _shown(request, reader, 409)
    return problem(409, str(exc)) if answer.status == 404 else answer


def api_index(request: Request, reader: Reader) -> Response:
    """The open approvals as JSON."""
    return json_answer(approvals(reader.app, _sight(request, reader)))


ROUTES = (
    Route("GET", "approvals", "view", index),
    Route("GET", "approvals/{id}/{title}", "view", show),
    Route("POST", "approvals/{id}/{title}", "approve", decide),
    Route("GET", "api/v1/approvals", "view", api_index),
)
