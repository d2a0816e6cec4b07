"""Requests and answers of the gateway: what is asked is read within limits, and what is refused says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from liteq.utils.json_text import from_json, to_json
from liteq.utils.records import NamedTuple

__all__ = ["NO_TASK", "Answer", "Environ", "Problem", "Request", "StartResponse", "json_of", "request_of"]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

JSON = "application/json"
PROBLEM = "application/problem+json"  # RFC 9457
NO_TASK: Final = "no such task"  # as the detail of a 404 begins, by which a relay knows it from any other
LONG_LENGTH = 20  # digits
ODD: Final = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")


class Problem(Exception):
    """Raised to refuse a request: an HTTP status, and for the caller what to do about it."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Answer(NamedTuple):
    """An answer: `document` is written as JSON; bytes as they are."""

    status: int = 200
    document: Any = None
    headers: Mapping[str, str] = {}
    kind: str = JSON

    @property
    def body(self) -> bytes:
        return self.document if isinstance(self.document, bytes) else to_json(self.document)

    def send(self, start_response: StartResponse, *, head: bool = False) -> Iterable[bytes]:
        """Answer a WSGI server; `head`: without the body."""
        body = self.body
        headers = {"Content-Type": self.kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        status = f"{self.status} {HTTPStatus(self.status).phrase}"
        start_response(status, list((headers | dict(self.headers)).items()))
        return [] if head else [body]

    @classmethod
    def of(cls, problem: Problem) -> Answer:
        """The answer to what was refused, as RFC 9457 has it."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
        }
        return cls(problem.status, document, problem.headers, PROBLEM)


class Request(NamedTuple):
    """A request whose head was read. `headers` have lower-case names; `client` is the other end's address, or ""."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str
    environ: Environ

    @property
    def below(self) -> str:
        """The path below which a framework has the gateway; "" where it is served by itself."""
        script: str = self.environ.get("SCRIPT_NAME", "")
        return script.encode("latin-1", "replace").decode("utf-8", "replace")  # PEP 3333: bytes, as text

    def body(self, limit: int) -> bytes:
        """The body. Raises Problem where it is longer than `limit` bytes, before it is read; or comes too slowly."""
        if "transfer-encoding" in self.headers:
            raise Problem(411, "send the length of the body in Content-Length; a body in chunks is not taken")
        told = self.headers.get("content-length", "")
        if not told:
            if self.method in {"GET", "DELETE", "HEAD"}:
                return b""
            raise Problem(411, "send the length of the body in Content-Length")
        if not told.isascii() or not told.isdigit():
            raise Problem(400, "Content-Length is a number of bytes")
        length = int(told) if len(told) < LONG_LENGTH else limit + 1
        if length > limit:
            raise Problem(413, f"the body has {told:.20} bytes, and {limit:,} are taken: send it in parts")
        try:
            found: bytes = self.environ["wsgi.input"].read(length)
        except TimeoutError:
            raise Problem(408, "the body did not come in time") from None
        if len(found) != length:
            raise Problem(400, "the body ended before its Content-Length")
        return found

    def number(self, name: str, default: float, most: float) -> float:
        """A parameter of the query: a number from 0 to `most`. Raises Problem for anything else."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            found = float(text)
        except ValueError:
            found = -1.0
        if not 0 <= found <= most:
            raise Problem(400, f"{name} is a number from 0 to {most:g}")
        return found


def request_of(environ: Environ) -> Request:
    """The request of a WSGI server. Raises Problem for a path that no client of good faith sends."""
    raw = environ.get("PATH_INFO", "")
    try:
        path = raw.encode("latin-1").decode("utf-8")  # PEP 3333: bytes, as text
    except (UnicodeEncodeError, UnicodeDecodeError):
        raise Problem(400, "the path is no UTF-8") from None
    parts = path.split("/")
    if ODD.search(path) or "" in parts[1:-1] or not {".", ".."}.isdisjoint(parts):
        raise Problem(400, "the path has empty parts, `.`, `..`, a backslash or control characters in it")
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    asked = environ.get("QUERY_STRING", "")
    query = dict(parse_qsl(asked, keep_blank_values=True, max_num_fields=100)) if asked else {}
    method = environ.get("REQUEST_METHOD", "GET").upper()
    return Request(method, path, query, headers, environ.get("REMOTE_ADDR", ""), environ)


def json_of(body: bytes) -> Any:
    """The JSON of a body. Raises Problem for what is none."""
    try:
        return from_json(body)
    except ValueError as exc:
        raise Problem(400, f"the body is no JSON: {exc}") from None
