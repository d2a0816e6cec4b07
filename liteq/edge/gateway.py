"""The gateway: the queue over HTTP, as a WSGI application. It owns no state: every call is a verb of the queue.

Mounted in a framework, or served by `liteq gateway`. Without a file of keys only this machine's own requests are let
through: those of a page in its browser are not.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Final

from liteq.context import App
from liteq.edge.http import Answer, Environ, Problem, Request, StartResponse, request_of
from liteq.edge.keys import ANYTHING, Key, Keys
from liteq.edge.lending import Lender
from liteq.edge.openapi import document, query_of
from liteq.edge.routes import Route, Table
from liteq.edge.sqs import Face
from liteq.edge.sqs.errors import answer_of
from liteq.edge.v1 import V1
from liteq.exceptions import (
    BadMessage,
    CanvasConflict,
    ReadOnly,
    StorageBusy,
    StorageConflict,
    StorageDenied,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from liteq.utils.misspelt import unknown_name

__all__ = ["Gateway", "gateway"]

logger = logging.getLogger("liteq.gateway")

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
PASSING: Final = (StorageBusy, StorageConflict, StorageDenied, StorageFull, StorageUnavailable)


def gateway(app: App, *, key_file: str | Path | None = None) -> Gateway:
    """The WSGI application that serves the queue of `app`; see `docs/howto/gateway.md`.

    `key_file`: the keys of the programs that may call it. Raises ImproperlyConfigured for a file that is none.
    """
    return Gateway(app, None if key_file is None else Keys.read(Path(key_file)))


class Gateway:
    """The queue of `app` over HTTP. `keys`: None lets this machine's own requests through, and no other."""

    def __init__(self, app: App, keys: Keys | None = None) -> None:
        self.app = app
        self._keys = keys
        self._lender = Lender(app)
        self._asked: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._face = Face(app, self._lender, keys)
        self._table = Table((*V1(app, self._lender).routes(), *self._own()))

    def _own(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/v1/openapi.json", "", self._openapi, "This document."),
            Route("GET", "/health", "", self._health, "Whether the queue can be used."),
            Route("GET", "/metrics", "", self._metrics, "Requests by call and status, for Prometheus."),
        )

    def close(self) -> None:
        """Sign off: the leases that it has given out go back to their queues."""
        self._lender.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        began, route, name = perf_counter(), None, ""
        try:
            request = request_of(environ)
            if Face.is_asked(request):
                return self._sqs(request, start_response)
            route, parts = self._table.find(request.method, request.path)
            key = self._key(request, route.right)
            name = key.name
            if route.right and not key.can(route.right):
                raise Problem(403, f"this key has no right {route.right!r}")
            if request.query and (unknown := unknown_name("parameter", request.query, query_of(route))):
                raise Problem(400, unknown)
            answer = route.call(key, request, **parts)
        except Problem as problem:
            answer = Answer.of(problem)
        except Exception as exc:  # noqa: BLE001 - logged, and answered
            answer = Answer.of(_problem(exc))
        path = route.path if route is not None else ""
        self._asked[f"{route.method if route is not None else ''} {path}", answer.status] += 1
        self._seconds[path] += perf_counter() - began  # type: ignore[assignment]
        if answer.status in {401, 403}:
            logger.warning("%s: %d for %s at %s", path, answer.status, name or "nobody", _from(environ))
        return answer.send(start_response, head=environ.get("REQUEST_METHOD") == "HEAD")

    def _sqs(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        """An action of SQS, which has errors, keys and a log line of its own kind."""
        began = perf_counter()
        try:
            if self._keys is None:
                _check_local(request)
            answer = self._face(request)
        except Problem as problem:
            answer = answer_of(problem)
        except Exception as exc:  # noqa: BLE001 - logged, and answered
            answer = answer_of(_problem(exc))
        self._asked["SQS /", answer.status] += 1
        self._seconds["/"] += perf_counter() - began  # type: ignore[assignment]
        if answer.status == 403:
            logger.warning("SQS: 403 at %s: %s", _from(request.environ), answer.document["message"])
        return answer.send(start_response)

    # -- who asks ------------------------------------------------------------------------------------------------------

    def _key(self, request: Request, right: str) -> Key:
        """The key of a request that takes `right`. Raises Problem: 401 without one, 403 from elsewhere without keys."""
        if not right:
            return ANYTHING
        if self._keys is None:
            _check_local(request)
            return ANYTHING
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = self._keys.find(token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            text = "send `Authorization: Bearer ...` with a token of the file of keys"
            raise Problem(401, text, WWW_Authenticate="Bearer")
        return key

    # -- calls of its own ----------------------------------------------------------------------------------------------

    def _openapi(self, _key: Key, _request: Request) -> Answer:
        return Answer(200, document(self._table.routes, self.app))

    def _health(self, _key: Key, _request: Request) -> Answer:
        self.app.storage.reader.next_due_ms()
        return Answer(200, {"status": "ok"})

    def _metrics(self, _key: Key, _request: Request) -> Answer:
        lines = ["# TYPE liteq_gateway_requests_total counter"]
        for (call, status), n in sorted(self._asked.items()):
            method, _, path = call.partition(" ")
            lines.append(f'liteq_gateway_requests_total{{method="{method}",path="{path}",status="{status}"}} {n}')
        lines.append("# TYPE liteq_gateway_seconds_total counter")
        lines += [f'liteq_gateway_seconds_total{{path="{path}"}} {s:.6f}' for path, s in sorted(self._seconds.items())]
        return Answer(200, "\n".join([*lines, ""]).encode(), kind=TEXT)


def _problem(exc: Exception) -> Problem:
    """The answer to what the queue has raised."""
    match exc:
        case ReadOnly():
            return Problem(503, str(exc))
        case StorageError() if isinstance(exc, PASSING):
            logger.warning("%s", exc)
            return Problem(503, str(exc), Retry_After="1")
        case CanvasConflict():
            return Problem(409, str(exc))
        case BadMessage() | ValueError() | TypeError():
            logger.warning("a request that nothing had refused before: %r", exc)
            return Problem(400, str(exc))
        case _:
            logger.error("a call of the gateway failed", exc_info=exc)
            return Problem(500, "the gateway's log has the reason")


def _check_local(request: Request) -> None:
    """Raise Problem 403 but for this machine's own requests: not handed on by a proxy, and not by a page's script.

    A page in a browser here can send to any address. It cannot leave its Origin out, nor name this host while it is
    called by another name; and it is not let send JSON to where it has not asked before.
    """
    headers = request.headers
    host = headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    handed_on = any(header in headers for header in FORWARDED)
    from_page = "origin" in headers or headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
    if not _is_loopback(request.client) or name not in LOCAL_NAMES or handed_on or from_page:
        raise Problem(403, "without a file of keys only programs of this machine may ask: give --key-file")


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _from(environ: Environ) -> str:
    return str(environ.get("REMOTE_ADDR", "") or "-")
