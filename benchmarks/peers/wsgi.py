"""A bare WSGI application, on the standard library's server or on the gateway's: what HTTP costs, and no queue."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson

from benchmarks.peers.http_client import Posting
from benchmarks.peers.surroundings import OPTIONS

READ_S = 10.0


def server(port: int) -> list[list[str]]:
    return [[sys.executable, "-m", "benchmarks.peers.wsgi", str(port)]]


def sender(port: int) -> Callable[[int, int], None]:
    post = Posting(port, "/v1/tasks")
    return lambda first, n: (
        post(orjson.dumps([{"task": "noop", "args": [i]} for i in range(first, first + n)])) and None
    )


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Read the calls, answer with as many ids."""
    calls = orjson.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    body = orjson.dumps({"tasks": [{"id": str(n), "new": True} for n, _ in enumerate(calls)]})
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def serve(port: int) -> None:
    """Until it is killed."""
    if OPTIONS["server"] == "wsgiref":  # HTTP/1.0: a connection for each request
        make_server("127.0.0.1", port, application, Threaded, Handler).serve_forever()
    from liteq.edge.server import Server

    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        Server(listening, application, read_timeout_s=READ_S).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
