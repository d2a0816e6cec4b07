"""One task: why it waits or failed, its attempts, what it was sent with, what came of it, its kin."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from liteq.monitor.tasks.tasks import task as document_of
from liteq.operating import offered
from liteq_dashboard.acts.acting import RIGHTS
from liteq_dashboard.acts.compare import compare
from liteq_dashboard.drawn.traces import own_frames, timeline
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.render import html, problem

__all__ = ["ROUTES"]

OPTIONS = ("expires", "crashes", "reaps", "group_id")
LONGEST = 120  # characters of a fact beside the reason


# The first of these that is offered is the one that stands out; what cannot be taken back is marked.
FIRST = ("requeue", "retry", "resume")
GRAVE = frozenset({"revoke", "terminate", "delete", "cancel"})
TONES = {"failed": "bad", "upstream": "bad", "silent": "bad", "stuck": "bad", "no_worker": "bad", "unknown_task": "bad"}
TONES |= {
    "limit": "warn",
    "rate": "warn",
    "paused": "warn",
    "disk_reserve": "bad",
    "key_missing": "bad",
    "busy": "warn",
    "behind": "warn",
    "retry": "warn",
    "done": "ok",
}


def task(request: Request, reader: Reader) -> Response:
    """The page of one message; 404 for one that is not there or not seen."""
    id_ = request.path_args["id"]
    found = document_of(reader.app, id_, reader.sight)
    if found is None:
        return problem(404, f"there is no task {id_!r:.100}: it was never sent, or was deleted since")
    now_ms = reader.app.clock.now_ms()
    bars, spoken = timeline(found, now_ms)
    why = found.get("why") or {}
    return html(
        request, "task.html", part=request.get("part") or None, it=found, args=_listed(found.get("args")),
        kwargs=_named(found.get("kwargs")), tone=TONES.get(why.get("reason", ""), ""), details=_details(why),
        timeline=bars, timeline_text=spoken, own_trace=own_frames(found.get("traceback") or ""),
        actions=_actions(request, reader, id_),
        options=[(name.replace("_", " "), found[name]) for name in OPTIONS if found.get(name)],
        kin=list(_kin(found)), compare=_compared(reader, found), commands=_commands(found),
    )  # fmt: skip


def _actions(request: Request, reader: Reader, id_: str) -> list[tuple[str, str]]:
    """The acts that the message's state allows and the viewer may do: name, tone; those that mend it first."""
    record = reader.app.storage.reader.find(id_)
    names = [name for name in (offered(record) if record else ()) if request.viewer.can(RIGHTS[name])]
    names.sort(key=lambda name: (name in GRAVE, name not in FIRST))
    return [(name, "danger" if name in GRAVE else "main" if name in FIRST else "") for name in names]


def _listed(args: Any) -> list[Any]:
    """The positional arguments; a sender's own text in their place is one."""
    return list(args) if isinstance(args, (list, tuple)) else [args] if args else []


def _named(kwargs: Any) -> list[tuple[str, Any]]:
    return list(kwargs.items()) if isinstance(kwargs, Mapping) else [("", kwargs)] if kwargs else []


def _details(why: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts behind the reason that are short and no times, which the text has already."""
    found = []
    for name, value in (why.get("details") or {}).items():
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and f"{name}_iso" not in why["details"]:
            text = f"{value:.1f}" if isinstance(value, float) else str(value)
            if len(text) <= LONGEST and not name.endswith("_iso"):
                found.append((name.replace("_", " "), text))
    return found


def _kin(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Relation, id, and what is known of each message around this one."""
    seen = set[str]()
    for relation, lines in (found.get("kin") or {}).items():
        for one in lines if isinstance(lines, list) else ():
            if one["id"] not in seen:  # what it sent may await it too
                seen.add(one["id"])
                yield relation.replace("_", " "), one["id"], one


def _compared(reader: Reader, found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The differences from the newest run of the same task that succeeded; None where there are none."""
    if found["state"] not in {"dead", "scheduled"} or not found.get("error"):
        return None
    return compare(reader, found)


def _commands(found: Mapping[str, Any]) -> list[str]:
    """The commands that show and do the same in a terminal."""
    id_ = shlex.quote(found["id"])
    more = [f"liteq dead requeue {id_}"] if found["state"] == "dead" else []
    return [f"liteq why {id_}", f"liteq result {id_}", *more]


ROUTES = (Route("GET", "tasks/{id}", "view", task),)
