"""Answers: pages made of templates, JSON, problems, and the way back after an action."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from liteq.clock import SystemClock
from liteq.message import new_id
from liteq.utils.json_text import to_json
from liteq_dashboard.assets import asset_path
from liteq_dashboard.http import Request, Response
from liteq_dashboard.links import link
from liteq_dashboard.looks import FILTERS, LOOK_COOKIE, live, look_of
from liteq_dashboard.texts import TEXTS

__all__ = [
    "MESSAGE_COOKIE",
    "Problem",
    "cookies",
    "cookies_of",
    "environment",
    "html",
    "json_answer",
    "problem",
    "redirect",
]

MESSAGE_COOKIE = "liteq_message"
# The navigation: path, text. Everybody who may view sees all of it.
NAVIGATION = (
    ("", "Overview"),
    ("tasks", "Tasks"),
    ("failures", "Failures"),
    ("workflows", "Workflows"),
    ("approvals", "Approvals"),
    ("queues", "Queues"),
    ("limits", "Limits"),
    ("workers", "Workers"),
    ("schedules", "Schedules"),
    ("operations", "Operations"),
    ("activity", "Activity"),
    ("file", "File"),
)


@dataclass(frozen=True, slots=True)
class Problem(Response):
    """An answer that says what is wrong; to a browser it is shown as a page."""

    title: str = ""
    detail: str = ""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """The answer `status` with `detail`: one sentence that says what is wrong and what to do."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    own = {"content-type": "application/problem+json", **(headers or {})}
    return Problem(status, own, to_json(document), title, detail)


def json_answer(document: object, status: int = 200) -> Response:
    """`document` as JSON; what JSON has no form for is written as text."""
    return Response(status, {"content-type": "application/json"}, to_json(document))


def redirect(request: Request, path: str, message: str = "") -> Response:
    """303 to `path` below the dashboard, where `message` is shown once. `path` may be a link of `link()` too."""
    where = path if path.startswith(f"{request.base}/") else f"{request.base}/{path}"
    headers = {"location": where}
    if message:
        headers["set-cookie"] = _message_cookie(request, quote(message[:800], safe=""), 60)
    return Response(303, headers)


def html(request: Request, template: str, status: int = 200, part: str | None = None, **values: Any) -> Response:
    """The page that `template` makes of `values`; with `part`, its block of that name alone (404 for no such block)."""
    found = environment().get_template(template)
    headers = {"content-type": "text/html; charset=utf-8"}
    message = ""
    if not part and MESSAGE_COOKIE in request.headers.get("cookie", ""):
        message = unquote(cookies(request).get(MESSAGE_COOKIE, ""))
        headers["set-cookie"] = _message_cookie(request, "", 0)
    context = {**_given(request), "message": message, **values}
    if part:
        text = _block(found, part, context)
        if text is None:
            return problem(404, f"the page has no part {part!r:.80}")
        return Response(status, headers, text.encode("utf-8", "replace"))
    return Response(status, headers, found.render(context).encode("utf-8", "replace"))


def _block(template: Template, name: str, values: dict[str, Any]) -> str | None:
    context = template.new_context(values)
    # Up to the first text of the parent: what the head of the template imports and sets is there then.
    head: Iterator[str] = template.root_render_func(context)
    next(head, None)
    blocks = context.blocks.get(name)
    return "".join(blocks[0](context)) if blocks else None


def _given(request: Request) -> dict[str, Any]:
    """The values that every template has."""
    look = look_of(cookies(request).get(LOOK_COOKIE, ""))
    return {
        "request": request,
        "viewer": request.viewer,
        "base": request.base,
        "url": functools.partial(link, request.base),
        "static": functools.partial(asset_path, request.base),
        "can": request.viewer.can,
        "hidden": functools.partial(_hidden, request),
        "navigation": NAVIGATION,
        "look": look,
        "zone": look.tzinfo,
        "live": functools.partial(live, request),
        "now_ms": SystemClock().now_ms(),
    }


def _hidden(request: Request) -> Markup:
    """The fields that each form carries: the host's own against forged requests, and a number that acts once."""
    own = Markup(request.csrf)  # noqa: S704 - the host made it, as HTML
    return own + Markup('<input type="hidden" name="nonce" value="{}">').format(new_id())


def cookies(request: Request) -> dict[str, str]:
    """The cookies of the request by name."""
    return cookies_of(request.headers)


def cookies_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The cookies of a request with these headers. Others of the same host may have any form: they spoil none."""
    pairs = (one.partition("=") for one in headers.get("cookie", "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _message_cookie(request: Request, value: str, age_s: int) -> str:
    return f"{MESSAGE_COOKIE}={value}; Max-Age={age_s}; Path={request.base}/; HttpOnly; SameSite=Strict"


# -- the templates -----------------------------------------------------------------------------------------------------


@functools.cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, a name that was not given is an error."""
    made = Environment(
        loader=PackageLoader("liteq_dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= FILTERS
    made.globals["t"] = TEXTS
    # Its file is in the package and never changes while a program runs.
    made.auto_reload = False
    return made
