"""A server for the gateway alone: the standard library's, a thread a connection, and strict with what it reads.

All of a request must come within a time; a request with two lengths, or lines that two readers may read differently,
is refused, and its connection closed.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler
from io import BufferedReader, BytesIO, RawIOBase
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from liteq.edge.http import Answer, Environ, Problem

__all__ = ["Server"]

logger = logging.getLogger("liteq.gateway")

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

MOST_CONNECTIONS: Final = 256
UNREAD: Final = frozenset({"400", "408", "411", "413"})  # where the request ends is not known for sure
IDLE_S: Final = 60.0  # that a connection stays open between two requests
LINGER_S: Final = 1.0  # that nothing comes on a connection before it is closed under its other end
REQUEST: Final = re.compile(rb"[!-~]+ [^\x00-\x20\x7f]+ HTTP/[0-9]\.[0-9]\r\n")
LINE: Final = re.compile(rb"[^\x00\r\n]*\r\n")
LONGEST: Final = 65_536  # bytes of the first line, and of all headers together
MOST_LINES: Final = 100  # of headers, as http.client has it
HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110


class _Timed(RawIOBase):
    """A socket's bytes until a moment. Reading later raises TimeoutError."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.until = 0.0  # monotonic

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other, each answered by the server's application."""

    protocol_version = "HTTP/1.1"
    server: Server
    rfile: BufferedReader

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.rfile.close()
        self._timed = _Timed(self.connection)
        self.rfile = BufferedReader(self._timed)

    def handle_one_request(self) -> None:
        self.close_connection = True
        try:
            self._timed.until = time.monotonic() + IDLE_S
            if not self.rfile.peek(1):
                return
        except (TimeoutError, ConnectionError):  # nothing more was asked
            return
        self._timed.until = time.monotonic() + self.server.read_timeout_s
        try:
            self._serve()
        except TimeoutError:
            self._refuse(408, "the request did not come in time")
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        self.raw_requestline = self.rfile.readline(LONGEST + 1)
        if len(self.raw_requestline) > LONGEST:
            self._refuse(414, "the address is too long")
            return
        try:
            if not self._is_read(self._head()):
                return
            environ = self._environ()
        except Problem as problem:
            self._refuse(problem.status, problem.detail)
            return
        self._answer(environ)

    def _head(self) -> bytes:
        """The lines of the headers. Raises Problem for one that another reader may take for more, or for fewer."""
        if not REQUEST.fullmatch(self.raw_requestline):
            raise Problem(400, "the request begins with `METHOD /path HTTP/1.1`, single spaces, and CR LF")
        lines, left = [b""], LONGEST
        while lines[-1] != b"\r\n":
            line = self.rfile.readline(left + 1)
            left -= len(line)
            if left < 0 or len(lines) > MOST_LINES + 1:
                raise Problem(431, f"the headers have at most {LONGEST:,} bytes and {MOST_LINES} lines")
            if not LINE.fullmatch(line):
                raise Problem(400, "each line of the head ends with CR LF, and has no NUL, CR or LF in it")
            lines.append(line)
        return b"".join(lines)

    def _is_read(self, head: bytes) -> bool:
        """Whether the standard library can read the request; if not, it has answered."""
        body, self.rfile = self.rfile, BufferedReader(BytesIO(head))
        try:
            return self.parse_request()
        finally:
            self.rfile = body

    def _environ(self) -> Environ:
        headers = self.headers
        assert isinstance(headers, HTTPMessage)
        if headers.defects or not all(HEADER.fullmatch(name) for name in headers):
            raise Problem(400, "a header is no header")
        if "Transfer-Encoding" in headers and "Content-Length" in headers:
            raise Problem(400, "Content-Length and Transfer-Encoding exclude each other")
        if len(headers.get_all("Host") or ()) > 1 or any("\r" in value or "\n" in value for value in headers.values()):
            raise Problem(400, "a header is there twice, or has a line's end in it")
        path, _, query = self.requestline.split()[1].partition("?")  # `self.path` has lost a second slash in front
        if not path.startswith("/"):
            raise Problem(400, "the address begins with a slash")
        environ: Environ = {
            "REQUEST_METHOD": self.command, "SCRIPT_NAME": "", "QUERY_STRING": query, "RAW_PATH": path,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "SERVER_PROTOCOL": self.request_version,
            "SERVER_NAME": self.server.server_name, "SERVER_PORT": str(self.server.server_port),
            "REMOTE_ADDR": self.client_address[0], "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.input": self.rfile, "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }  # fmt: skip
        for name, value in headers.items():
            if "_" in name:  # X_Forwarded_For would be taken for X-Forwarded-For
                continue
            key = name.upper().replace("-", "_")
            key = key if key in {"CONTENT_LENGTH", "CONTENT_TYPE"} else f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value  # two lengths are none
        return environ

    def _answer(self, environ: Environ) -> None:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc: object = None) -> None:
            head[:] = [status, headers]

        counted = environ["wsgi.input"] = _Counted(self.rfile)
        body = b"".join(self.server.application(environ, start_response))
        status, headers = head
        told = environ.get("CONTENT_LENGTH", "")
        unread = "HTTP_TRANSFER_ENCODING" in environ or (told not in {"", "0"} and str(counted.read_bytes) != told)
        wants = environ.get("HTTP_CONNECTION", "").lower()
        keep = self.request_version == "HTTP/1.1" and "close" not in wants and not unread
        keep = keep and status[:3] not in UNREAD and not self.server.is_ending
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        if not keep:
            lines.append("Connection: close")
        self._send("\r\n".join([*lines, "", ""]).encode("latin-1") + body, keep=keep)

    def _send(self, data: bytes, *, keep: bool) -> None:
        self.connection.settimeout(self.server.read_timeout_s)
        self.connection.sendall(data)
        self.close_connection = not keep
        if not keep:
            self._drain()

    def _drain(self) -> None:
        """Read what is still coming, for a while: a closed socket with unread bytes takes the answer with it."""
        until = max(self._timed.until, time.monotonic() + LINGER_S)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_S)
            while time.monotonic() < until and self.connection.recv(1 << 16):
                pass

    def _refuse(self, status: int, detail: str) -> None:
        answer = Answer.of(Problem(status, detail))
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {answer.kind}\r\n"
        head += f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            self._send(head.encode() + answer.body, keep=False)
        self.close_connection = True

    def send_error(self, code: int, message: str | None = None, _explain: str | None = None) -> None:
        """As `parse_request` refuses what it cannot read."""
        self._refuse(code, message or "the request cannot be read")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        logger.debug(format, *args)


class _Counted:
    """A request's body, and how much of it was read."""

    def __init__(self, reader: BufferedReader) -> None:
        self._reader = reader
        self.read_bytes = 0

    def read(self, size: int) -> bytes:
        found = self._reader.read(size)
        self.read_bytes += len(found)
        return found


class Server(ThreadingMixIn, TCPServer):
    """Serves `application` on a socket that listens. A connection too many is closed at once.

    `read_timeout_s`: in which all of a request must have come, and its answer must have been taken.
    """

    daemon_threads = True
    block_on_close = False
    is_ending = False

    def __init__(self, listening: socket.socket, application: Application, *, read_timeout_s: float) -> None:
        self.application = application
        self.read_timeout_s = read_timeout_s
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = listening.family
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        host, self.server_port = listening.getsockname()[:2]
        self.server_name = str(host)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            logger.warning("%d connections are open: one more is closed", MOST_CONNECTIONS)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread has begun, which would have given the place back
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: Any, client_address: Any) -> None:
        logger.exception("a connection of %s ended", client_address[0])  # noqa: LOG004 - its caller handles one
