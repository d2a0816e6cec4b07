"""`http.request`, and one look of `wait.http`."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from liteq_flow.jobs.capture import LARGEST
from liteq_flow.reader.parts import seconds_of

if TYPE_CHECKING:
    from liteq_flow.jobs.job import Job

__all__ = ["look_at_url", "request"]

PATIENCE_S = 60.0


class Answer:
    """An answer: `status`, `body` and `headers`, whatever the status is."""

    def __init__(self, found: Any) -> None:
        self.status = int(found.status)
        self.body: bytes = found.read(LARGEST + 1)
        self.headers = {name.lower(): value for name, value in found.headers.items()}


def _ask(job: Job, timeout_s: float) -> Answer:
    """Send the request that the job's arguments are. Raises ValueError for what is no http, OSError."""
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
    asked = urllib.request.Request(url, data, headers, method=str(given.get("method") or "GET").upper())  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(asked, timeout=timeout_s) as found:  # noqa: S310 - checked
            return Answer(found)
    except urllib.error.HTTPError as exc:
        with exc:
            return Answer(exc)


def request(job: Job) -> dict[str, Any]:
    """Send a request. The output is the answer's body; a status from 400 on fails."""
    given = job.document["with"]
    own = given.get("timeout")
    timeout_s = seconds_of(own) if own else float(job.document.get("timeout_s") or PATIENCE_S)
    answer = _ask(job, timeout_s)
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
        status = _ask(job, float(job.document.get("request_timeout_s") or 10.0)).status
    except OSError as exc:
        job.say(f"no answer: {exc}")
        return {"exit_code": 0, "met": False}
    return {"exit_code": 0, "met": status == int(given.get("status") or 200)}
