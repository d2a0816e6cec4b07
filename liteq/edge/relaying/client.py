"""The gateway as the relay sees it: a batch is taken, refused, or not answered."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from liteq.edge.http import NO_TASK
from liteq.exceptions import ImproperlyConfigured
from liteq.utils.names import segment
from liteq.utils.records import NamedTuple

__all__ = ["Away", "Client", "Reply"]

REFUSED: Final = frozenset({400, 413})  # of a batch; a 404 is a wrong address: no message is to blame
NOT_THIS: Final = 403  # of a key that may not send this call, which is named then; else the key lacks the right at all
GONE: Final = 404  # of a task that was taken: it was deleted, or its result has expired
LONGEST: Final = 16 << 20  # bytes of an answer that are read
LATEST_S: Final = 3600.0  # that a gateway may ask for before the next attempt
BROKEN: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # of a connection that the other end closed


class Away(Exception):
    """Raised where there is no answer, or one that says: later. `after_s`: as the gateway asks; None: it does not."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Reply(NamedTuple):
    """An answer: `detail` says why it is a refusal; "" for one that is none."""

    document: Any
    detail: str = ""


class Client:
    """Calls the gateway before whose `/v1` stands `url`; one call at a time. `token`: its key, "" for none.

    Raises ImproperlyConfigured for a URL that is none.
    """

    def __init__(self, url: str, token: str = "", *, timeout_s: float = 30.0) -> None:
        found = urlsplit(url)
        if "@" in found.netloc:  # not shown: a password may be in it
            raise ImproperlyConfigured("a gateway's address has no password in it: give its key by --token-file")
        if found.scheme not in {"http", "https"} or not found.hostname or found.query or found.fragment:
            raise ImproperlyConfigured(f"{url!r} is no gateway's address: use one as https://queue.example.org")
        self.url = url.rstrip("/")
        self._secure = found.scheme == "https"
        self._host, self._port = found.hostname, found.port
        self._path = found.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._cut: http.client.HTTPConnection | None = None  # the one that was interrupted: nothing is sent anew for it

    def send(self, calls: Sequence[dict[str, Any]]) -> Reply:
        """Send calls, all or none of them. Raises Away."""
        reply = self._call("POST", "/v1/tasks", orjson.dumps(calls))
        taken = None if reply.detail else reply.document.get("tasks")
        each = isinstance(taken, list) and len(taken) == len(calls) and all(isinstance(one, dict) for one in taken)
        if not reply.detail and not each:
            raise Away(f"{self.url} answered 200, but not as a gateway does: is it the address of one?")
        return reply

    def task(self, id_: str) -> Reply:
        """Ask for the state of a task that was taken; refused where it is there no more. Raises Away."""
        return self._call("GET", f"/v1/tasks/{quote(segment(id_), safe='')}", None)

    def interrupt(self) -> None:
        """Have a call that waits for its answer, in another thread, end with Away."""
        self._cut = connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, when the call in progress has ended; the next call opens another."""
        with self._lock:
            self._drop()

    def _call(self, method: str, path: str, body: bytes | None) -> Reply:
        with self._lock:
            try:
                status, headers, data = self._answer(method, self._path + path, body)
            except (OSError, http.client.HTTPException) as exc:
                self._drop()
                raise Away(f"{self.url} does not answer: {str(exc) or type(exc).__name__}") from None
        if len(data) > LONGEST:
            text = f"{self.url} answered {status} with more than {LONGEST >> 20} MiB, which is not read"
            if status == 200 and method == "GET":
                return Reply(None, text)
            raise Away(text)
        try:
            document = orjson.loads(data) if data else None
        except orjson.JSONDecodeError:
            document = None
        if status == 200 and isinstance(document, dict):
            return Reply(document)
        detail = document.get("detail") if isinstance(document, dict) else None
        text = f"{self.url} answered {status}: {detail or data[:200].decode('utf-8', 'replace')}"
        if _is_final(method, status, str(detail)):
            return Reply(document, text)
        raise Away(text, _seconds(headers.get("Retry-After")))

    def _answer(self, method: str, path: str, body: bytes | None) -> tuple[int, Any, bytes]:
        answer = self._asked(method, path, body)
        data = answer.read(LONGEST + 1)
        if answer.will_close or len(data) > LONGEST:
            self._drop()
        return answer.status, answer.headers, data

    def _asked(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        """The answer, of which the head is read. An idle connection that was closed is replaced: calls have ids."""
        if (idle := self._connection) is not None:
            try:
                return self._sent(idle, method, path, body)
            except BROKEN:
                if self._cut is idle:
                    raise
                self._drop()
        self._connection = self._connect()
        self._connection.connect()
        return self._sent(self._connection, method, path, body)

    def _sent(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None
    ) -> http.client.HTTPResponse:
        with suppress(*BROKEN):  # it may have answered before it has read all, as where the body is too large
            connection.request(method, path, body, self._headers)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_final(method: str, status: int, detail: str) -> bool:
    """Whether an answer is the gateway's last word on a message, and not of a proxy or on the way to it."""
    if method == "GET":
        return status == GONE and detail.startswith(NO_TASK)
    return status in REFUSED or (status == NOT_THIS and detail.startswith("call "))


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else min(max(0.0, float(text)), LATEST_S)
    except ValueError:
        return None
