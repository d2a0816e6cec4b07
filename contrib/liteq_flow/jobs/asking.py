"""`http.request`, and one look of `wait.http`."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import Future, wait
from http.client import HTTPException, InvalidURL
from typing import TYPE_CHECKING, Any

from liteq.workflow import ctx
from liteq_flow.jobs.capture import LARGEST, Masking
from liteq_flow.jobs.process import ASK_S, PIECE
from liteq_flow.reader.parts import seconds_of

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["look_at_url", "request"]

PATIENCE_S = 60.0
LOOK_S = 10.0
SPARE_S = 1.0  # that a socket waits longer than the job does, which tells of it
PRIVATE = frozenset({"authorization", "cookie", "proxy-authorization"})  # headers that are for one host
KEPT = frozenset({307, 308})  # redirects of the same request; others are of a GET


class Answer:
    """An answer: `status`, `headers` and `body`, whatever the status is.

    most: bytes of the body that are read; over: nobody waits for it any more.
    """

    def __init__(self, found: Any, most: int, over: threading.Event) -> None:
        self.status = int(found.status)
        self.headers = {name.lower(): value for name, value in found.headers.items()}
        body = bytearray()
        while len(body) < most and not over.is_set() and (piece := found.read1(PIECE)):
            body += piece
        self.body = bytes(body[:most])


class GivenUp(Exception):
    """Raised for a request that is not waited for; `result`: the end of its job."""

    def __init__(self, text: str, **why: bool) -> None:
        super().__init__(text)
        self.result: dict[str, Any] = {"exit_code": None, "error": text, **why}


class Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects, on which what is for one host does not go to another."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request to go on with; one of 307 and 308 keeps its method and its body."""
        made: urllib.request.Request | None
        method, url = req.get_method(), newurl.replace(" ", "%20")
        if code in KEPT and method not in {"GET", "HEAD"}:
            made = urllib.request.Request(url, req.data, dict(req.headers), method=method)  # noqa: S310 - checked
        else:
            made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and not _is_same_place(req.full_url, newurl):
            for name, value in [*made.headers.items()]:
                if name.lower() in PRIVATE or self._masking(value) != value:
                    made.remove_header(name)
        return made


def _is_same_place(one: str, other: str) -> bool:
    """Whether two addresses are of the same server; https in the place of http is."""
    old, new = (urllib.parse.urlsplit(url) for url in (one, other))
    if (old.scheme, old.netloc) == (new.scheme, new.netloc):
        return True
    return (old.scheme, new.scheme) == ("http", "https") and old.hostname == new.hostname and not (old.port or new.port)


def _request_of(job: Job) -> urllib.request.Request:
    """The request that the job's arguments are. Raises ValueError for what is no http."""
    given = job.env.document(job.document["with"])
    url = str(given["url"])
    if given.get("query"):
        url += ("&" if "?" in url else "?") + urllib.parse.urlencode(given["query"])
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(f"the url is http or https: {url!r:.200}")
    body = given.get("body")
    headers = {str(name): str(value) for name, value in (given.get("headers") or {}).items()}
    if body is not None and not isinstance(body, str):
        body = json.dumps(body)
        if not any(name.lower() == "content-type" for name in headers):
            headers["content-type"] = "application/json"
    data = None if body is None else body.encode()
    method = str(given.get("method") or "GET").upper()
    return urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - checked


def _ask(job: Job, patience_s: float, most: int = LARGEST + 1) -> Answer:
    """Send the job's request, and wait for its answer: so long, and not longer than the step may take.

    most: bytes of its body that are waited for.

    In a thread of its own: a server that says nothing, or a little now and then, cannot keep the job. Raises GivenUp,
    ValueError for what is no http, OSError, HTTPException.
    """
    asked, found, over = _request_of(job), Future[Answer](), threading.Event()
    of_step = job.document.get("timeout_s")
    timeout_s = patience_s if of_step is None else min(patience_s, of_step)
    opener = urllib.request.build_opener(Redirects(job.masking))

    def send() -> None:
        try:
            found.set_result(_answer(opener, asked, timeout_s, most, over))
        except Exception as exc:  # noqa: BLE001 - raised where it is waited for
            found.set_exception(exc)

    deadline = time.monotonic() + timeout_s
    threading.Thread(target=send, name="liteq-flow-http", daemon=True).start()
    try:
        while True:
            wait([found], max(0.0, min(ASK_S, deadline - time.monotonic())))
            if found.done():
                return found.result()
            if time.monotonic() >= deadline:
                raise GivenUp(f"it took longer than {timeout_s:g} s", timed_out=True)
            if ctx.cancelled():
                raise GivenUp("its run was cancelled", cancelled=True)
    finally:
        over.set()


def _answer(
    opener: urllib.request.OpenerDirector, asked: urllib.request.Request, timeout_s: float, most: int,
    over: threading.Event,
) -> Answer:  # fmt: skip
    try:
        with opener.open(asked, timeout=timeout_s + SPARE_S) as found:
            return Answer(found, most, over)
    except urllib.error.HTTPError as exc:
        with exc:
            return Answer(exc, most, over)


def request(job: Job) -> dict[str, Any]:
    """Send a request. The output is the answer's body; a status from 400 on fails."""
    own = job.document["with"].get("timeout")
    try:
        answer = _ask(job, seconds_of(own) if own else float(job.document.get("timeout_s") or PATIENCE_S))
    except GivenUp as exc:
        return exc.result
    stdout = job.capture("stdout")
    stdout.add(answer.body, last=True)
    result: dict[str, Any] = {"exit_code": 0, **job.kept(stdout)}
    result["outputs"] = {
        "status": answer.status,
        "headers": {name: job.masking(value) for name, value in answer.headers.items()},
    }
    if answer.status >= 400:
        result |= {"exit_code": 1, "error": f"the answer has the status {answer.status}"}
    return result


def look_at_url(job: Job) -> dict[str, Any]:
    """One look of `wait.http`: whether the answer has the status that is waited for."""
    given = job.document["with"]
    try:
        # Its body may be large, or have no end.
        status = _ask(job, float(job.document.get("request_timeout_s") or LOOK_S), most=0).status
    except InvalidURL:
        raise
    except (GivenUp, OSError, HTTPException) as exc:
        job.say(f"no answer: {exc}")
        return {"exit_code": 0, "met": False}
    return {"exit_code": 0, "met": status == int(given.get("status") or 200)}
