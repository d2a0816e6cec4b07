"""From a host's request to the answer: who asks, may they, is it their own act; then the page. The same in every host.

A host makes an `Asked` of its own request, lets `access` say who asks, and calls `Dashboard.respond`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from liteq.exceptions import ImproperlyConfigured, LiteqError
from liteq.monitor import documents
from liteq.storage import describe_url
from liteq.utils.json_text import from_json
from liteq.utils.text import printable
from liteq_dashboard.access import ANYBODY, Viewer
from liteq_dashboard.freshness.behind import notes_on_age, wait_for_header
from liteq_dashboard.freshness.stamp import stamp_of
from liteq_dashboard.guard.audit import audit_refusal
from liteq_dashboard.guard.once import Once
from liteq_dashboard.guard.pace import Pace
from liteq_dashboard.http import Reader, Request, Response
from liteq_dashboard.render import Problem, html, problem, redirect
from liteq_dashboard.routes import Table, answer, routes
from liteq_dashboard.texts import TEXTS

if TYPE_CHECKING:
    from liteq import LiteQ

__all__ = [
    "FORMS",
    "LARGEST_BODY",
    "READING",
    "TOO_LARGE",
    "Asked",
    "Dashboard",
    "has_body",
    "local_viewer",
    "with_body",
]

logger = logging.getLogger("liteq.dashboard")

READING = frozenset({"view", "payloads", "export"})  # the rights that change nothing
ACTIONS_PER_S = 10
FORM = "application/x-www-form-urlencoded"
FORMS = (FORM, "multipart/form-data")  # that a framework reads
LARGEST_BODY = 1024 * 1024
TOO_LARGE = problem(413, f"a body of more than {LARGEST_BODY:,} bytes is not read")
LONGEST_QUERY = 8_192
MOST_PARAMETERS = 100

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors {framed_by}"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as its host read it. `path` is below the dashboard, decoded, without a slash in front.

    `base` is the dashboard's path without a slash at the end. `headers` have lower-case names. `ends` are those of the
    connection, as far as the host knows them. `csrf` are hidden fields of the host's own for every form.
    """

    method: str
    path: str
    base: str
    query: str
    headers: Mapping[str, str]
    ends: documents.Ends
    form: Mapping[str, list[str]] = field(default_factory=dict)
    json: object = None
    csrf: str = ""
    can_stream: bool = False
    unread: Response | None = None  # the answer to a body that the host did not read


def with_body(
    asked: Asked, body: Callable[[], bytes], form: Callable[[], Mapping[str, list[str]]], *, is_there: bool,
    forms: tuple[str, ...] = (FORM,),
) -> Asked:  # fmt: skip
    """`asked` with its JSON or its form, as its host reads them; or with the refusal of what cannot be read.

    The same in every host: what is no JSON is refused, for a call without a body is another one, and does more.
    `forms`: the content types that `form` reads. `body` need not read more than a byte over LARGEST_BODY.
    """
    kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if int(asked.headers.get("content-length") or 0) > LARGEST_BODY:
            return replace(asked, unread=TOO_LARGE)
        if kind == "application/json":
            if len(found := body()) > LARGEST_BODY:
                return replace(asked, unread=TOO_LARGE)
            return replace(asked, json=from_json(found))
        if kind in forms:
            return replace(asked, form=form())
    except ValueError as exc:
        return replace(asked, unread=problem(400, f"the body cannot be read: {exc}"))
    if not is_there:
        return asked
    return replace(asked, unread=problem(415, f"send {FORM} or application/json"))


def has_body(headers: Mapping[str, str]) -> bool:
    """Whether a request with these headers has a body, for a host that reads it later."""
    return headers.get("content-length", "") not in {"", "0"} or "transfer-encoding" in headers


def local_viewer(asked: Asked) -> Viewer | None:
    """The access of a dashboard that was given none: this machine alone, not by way of a proxy; it may look."""
    guard = documents.Guard(None, "access", True, "access")
    refused = documents.refusal(guard, asked.headers.items(), asked.ends)
    return Viewer("this machine", "viewer") if refused is None else None


def _opens_to_look(app: LiteQ) -> bool:
    try:
        return describe_url(app.broker_url).read_only
    except ImproperlyConfigured:  # it is said when a page is asked for
        return False


class Dashboard:
    """The dashboard of one app, for one place where it is mounted.

    `read_only`: nobody may act; so it is where the broker URL has `?mode=ro`. `origins`: other origins from which forms
    may come ("https://ops.example.org"). `framed_by`: origins that may show it in a frame. `table`: the routes, by
    default those of `pages/`. `login`: the path of the page to which a browser is sent that nobody knows; "": it is
    told 401. `leave`: the path to sign out at. `notes`: sentences over each page.
    """

    def __init__(
        self,
        app: LiteQ,
        *,
        read_only: bool = False,
        origins: Iterable[str] = (),
        framed_by: Iterable[str] = (),
        table: Table | None = None,
        login: str = "",
        leave: str = "",
        notes: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._looks = _opens_to_look(app)
        self.read_only = read_only = read_only or self._looks
        self.table = table or Table(routes())
        self.origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self.login = login
        self.leave = leave
        self.notes = (*notes, str(TEXTS["read_only"])) if read_only else tuple(notes)
        self.once = Once()
        self._pace = Pace(ACTIONS_PER_S, app.clock)
        self._headers = {
            "content-security-policy": CSP.format(framed_by=" ".join(framed_by) or "'none'"),
            "referrer-policy": "same-origin",  # `no-referrer` would make forms send `Origin: null`
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
        }

    def respond(self, asked: Asked, viewer: Viewer | None) -> Response:
        """The whole answer, with the headers of every answer. Raises nothing that the file or the request can cause."""
        request = self._request(asked, viewer)
        try:
            response = self._refused(asked, request, viewer)
            if response is None:
                if self._looks:
                    wait_for_header(self.app, asked.headers)
                response = self._answer(asked, request)
        except LiteqError as exc:
            response = problem(503, f"the queue's file cannot be read now: {exc}")
        if response.status == 403:
            self._note_refusal(request, response)
        if isinstance(response, Problem):
            response = self._shown(request, response)
        return self.dressed(_unless_known(request, response))

    def dressed(self, response: Response) -> Response:
        """`response` with the headers of every answer."""
        return replace(response, headers={**self._headers, **response.headers})

    def reader(self, request: Request) -> Reader:
        """The reader of the pages for the viewer of `request`."""
        return Reader(self.app, request.viewer.sight)

    def _request(self, asked: Asked, viewer: Viewer | None) -> Request:
        known = viewer or ANYBODY
        return Request(
            method=asked.method,
            path=asked.path,
            viewer=known.only(READING) if self.read_only else known,
            base=asked.base,
            query=parse_qs(asked.query, keep_blank_values=True) if _is_read(asked.query) else {},
            form=asked.form,
            json=asked.json,
            headers=asked.headers,
            address=asked.ends.client,
            csrf=asked.csrf,
            can_stream=asked.can_stream,
            stamp=stamp_of(self.app) if viewer else "",
            zone=str(self.app.timezone),
            file=Path(describe_url(self.app.broker_url).where).name if viewer else "",
            notes=(*self.notes, *notes_on_age(self.app, asked.headers))
            if viewer and self._is_page(asked)
            else self.notes,
            leave=self.leave if viewer else "",
        )

    def _is_page(self, asked: Asked) -> bool:
        """Whether notes on the age of a file that is only looked at may be shown, and are worth a wait."""
        return self._looks and asked.method == "GET" and not asked.path.startswith(("static/", "live"))

    def _answer(self, asked: Asked, request: Request) -> Response:
        def page() -> Response:
            return answer(request, self.reader(request), self.table)

        if request.method not in {"GET", "HEAD"}:
            nonce = request.posted("nonce")
            sent = hashlib.blake2b(repr(sorted(request.form.items())).encode("utf-8", "replace")).digest()
            act = (request.viewer, request.path, sent)
            return self.once.acted(act, page, _is_done) if nonce and request.viewer is not ANYBODY else page()
        if request.get("q"):
            with self.once.turn(request.viewer.name) as has_come:
                if not has_come:
                    return problem(429, "searches of yours are still running; wait for them", {"retry-after": "1"})
                return page()
        if not _repeats(request):
            return page()
        key = (request.viewer, request.path, asked.query, request.headers.get("cookie"))
        response, is_anothers = self.once.shared(key, page)
        # A number that acts once is given out once, and chunks can be read once.
        if is_anothers and (not isinstance(response.body, bytes) or b'name="nonce"' in response.body):
            return page()
        return response

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _refused(self, asked: Asked, request: Request, viewer: Viewer | None) -> Response | None:
        found = self.table.match(request.method, request.path)
        is_open = not isinstance(found, Response) and found[0].right == ""
        if viewer is None and not is_open:
            return self._unknown(request)
        if isinstance(found, Response):
            return found
        if not _is_read(asked.query):
            return problem(414, f"of a query {MOST_PARAMETERS} parameters and {LONGEST_QUERY:,} characters are read")
        if request.method in {"GET", "HEAD"}:
            return None
        if asked.unread is not None:
            return asked.unread
        if not self._is_own(asked):
            return problem(
                403, "this did not come from a page of the dashboard; load the page again, and send it there"
            )
        if viewer is not None and not self._pace.allows(viewer.name):
            return problem(429, f"more than {ACTIONS_PER_S} actions a second; wait a second", {"retry-after": "1"})
        return None

    def _unknown(self, request: Request) -> Response:
        if self.login and request.method == "GET" and not request.path.startswith("api/"):
            return redirect(request, self.login)
        return problem(
            401, "sign in first; a program sends `Authorization: Bearer ...`", {"www-authenticate": "Bearer"}
        )

    def _is_own(self, asked: Asked) -> bool:
        """Whether a POST is the act of the viewer, and not of another site's page in the viewer's browser.

        No such page can send a bearer token that it does not know, nor change the other headers that are looked at.
        """
        headers = asked.headers
        if headers.get("authorization", "").lower().startswith("bearer "):
            return True
        if headers.get("sec-fetch-site") == "same-origin":
            return True
        origin = headers.get("origin", "").lower()
        host = asked.ends.host.lower()
        return bool(origin) and (origin in self.origins or (bool(host) and urlsplit(origin).netloc == host))

    def _note_refusal(self, request: Request, response: Response) -> None:
        why = response.detail if isinstance(response, Problem) else ""
        name = request.viewer.name or "a client that is not known"
        logger.warning("%s was refused %s %s: %s", *map(printable, (name, request.method, request.path, why)))
        if request.viewer is not ANYBODY and self._pace.allows(f"refused {request.viewer.name}"):
            audit_refusal(self.app, request, why)

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _shown(self, request: Request, found: Problem) -> Response:
        """A problem as a page, where a person reads it; a program gets it as it is."""
        asks_for_json = request.path.startswith("api/") or "text/html" not in request.headers.get("accept", "text/html")
        if asks_for_json or request.get("part"):
            return Response(found.status, found.headers, found.body)
        page = html(request, "problem.html", found.status, title=found.title, detail=found.detail)
        return replace(page, headers={**found.headers, **page.headers})


def _is_done(response: Response) -> bool:
    """Whether an act was done: then it leads on. A form that was refused may be sent once more."""
    return response.status == 303


def _is_read(query: str) -> bool:
    return len(query) <= LONGEST_QUERY and query.count("&") < MOST_PARAMETERS


def _repeats(request: Request) -> bool:
    """Whether a page asks for this again and again."""
    return bool(request.get("part")) or request.path.startswith("api/")


def _unless_known(request: Request, response: Response) -> Response:
    """A part or a document that the browser has already is 304, and costs it nothing."""
    if request.method not in {"GET", "HEAD"} or response.status != 200 or not _repeats(request):
        return response
    if not isinstance(response.body, bytes):
        return response
    tag = f'"{hashlib.blake2b(response.body, digest_size=12).hexdigest()}"'
    # `no-cache`: kept, and asked for anew each time; nothing of it is shown without the server's word.
    headers = {**response.headers, "etag": tag, "cache-control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(304, headers)
    return replace(response, headers=headers)
