"""The tasks, by state and by a search that is in the page's address."""

from __future__ import annotations

import re
from typing import Any

from liteq.monitor.tasks.search import BadSearch, quoted
from liteq.monitor.tasks.tasks import tasks as document_of
from liteq_dashboard.http import Reader, Request, Response, Route
from liteq_dashboard.links import link
from liteq_dashboard.render import html
from liteq_dashboard.texts import SEARCH_WORDS

__all__ = ["ROUTES"]

TABS = ("", "pending", "leased", "scheduled", "held", "blocked", "dead", "succeeded", "cancelled", "upstream_failed")
STATE = re.compile(r"(?:^|\s)state:(\S+)")
# The columns that say most of a task in this state.
COLUMNS = {
    "pending": ("queue", "priority", "created", "due"),
    "leased": ("queue", "worker", "started", "run", "progress"),
    "scheduled": ("queue", "due", "retries", "error"),
    "held": ("queue", "waits_for", "created", "due"),
    "blocked": ("queue", "created"),
    "dead": ("queue", "error", "retries", "worker", "finished"),
    "succeeded": ("queue", "worker", "finished", "run"),
}
ANY = ("state", "queue", "worker", "created", "error")
# The actions on many, and the right of each.
BULK = (("requeue", "retry"), ("retry", "retry"), ("revoke", "cancel"), ("move", "retry"), ("delete", "delete"))
LIMIT = 50
SUGGESTED = 60  # of each kind
PLAIN = re.compile(r"[\w.@-]+")


def tasks(request: Request, reader: Reader) -> Response:
    """A page of the list; an unreadable search is explained, with what to write instead."""
    q, after = request.get("q").strip(), request.get("after")
    found, wrong = _found(reader, q, after)
    state = (STATE.search(q) or ["", ""])[1]
    return html(
        request, "tasks.html", status=400 if wrong else 200, part=request.get("part") or None, found=found, q=q,
        after=after, unknown_words=wrong, search_words=SEARCH_WORDS,
        suggestions=_suggestions(reader),
        columns=COLUMNS.get(state, ANY), state_tabs=_tabs(request, q, state),
        bulk=[action for action, right in BULK if request.viewer.can(right)],
    )  # fmt: skip


def _found(reader: Reader, q: str, after: str) -> tuple[dict[str, Any], list[str]]:
    try:
        return document_of(reader.app, q, after or None, LIMIT, reader.sight), []
    except BadSearch as exc:
        return {"items": [], "next": None, "note": ""}, [str(exc)]


def _suggestions(reader: Reader) -> list[str]:
    """The beginnings of a search: states, and the queues and tasks that were counted and are seen."""
    totals = [one for one in reader.app.storage.stats.totals() if one.task and reader.sight.sees(one.queue)]
    found = [f"state:{state}" for state in TABS if state]
    for word, names in (("queue", {one.queue for one in totals}), ("task", {one.task for one in totals})):
        found += [f"{word}:{name if PLAIN.fullmatch(name) else quoted(name)}" for name in sorted(names)[:SUGGESTED]]
    return found


def _tabs(request: Request, q: str, chosen: str) -> list[tuple[str, str, bool]]:
    """A link for each state: the search as it is, but for the state."""
    rest = STATE.sub(" ", q).strip()

    def words(state: str) -> str | None:
        return " ".join(filter(None, (f"state:{state}" if state else "", rest))) or None

    return [(state, link(request.base, "tasks", q=words(state)), state == chosen) for state in TABS]


ROUTES = (Route("GET", "tasks", "view", tasks),)
