"""The relay and the gateway's answers: taken, refused for good, or to be asked again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from liteq.edge.relaying.client import LATEST_S, Away, Client
from liteq.exceptions import ImproperlyConfigured

CALLS = [{"id": "a", "task": "shop.add"}, {"id": "b", "task": "shop.add"}]
TAKEN = b'{"tasks": [{"id": "a", "new": true}, {"id": "b", "new": false}]}'

Answering = Callable[..., Client]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """`answering(503, b"...", **headers)`: a client whose gateway answers so, whatever it is asked."""
    servers: list[ThreadingHTTPServer] = []

    def serve(status: int, body: bytes = b"", **headers: str) -> Client:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - its name there

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        return Client(f"http://127.0.0.1:{server.server_port}")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_calls_are_taken_where_the_gateway_names_each(answering: Answering) -> None:
    client = answering(200, TAKEN)
    assert client.send(CALLS).detail == ""
    client.close()


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"ok": true}', b'{"tasks": []}', b'{"tasks": 2}'])
def test_an_answer_that_is_no_gateways_takes_nothing(answering: Answering, body: bytes) -> None:
    client = answering(200, body)
    with pytest.raises(Away, match="200"):
        client.send(CALLS)
    client.close()


@pytest.mark.parametrize("status", [400, 413])
def test_a_refusal_says_why(answering: Answering, status: int) -> None:
    client = answering(status, b'{"detail": "no such field"}')
    assert client.send(CALLS).detail.endswith(f"answered {status}: no such field")
    client.close()


def test_a_key_that_may_not_send_one_call_refuses_that(answering: Answering) -> None:
    client = answering(403, b'{"detail": "call 1, counted from 0: this key may not send the task"}')
    assert client.send(CALLS).detail.endswith("this key may not send the task")
    client.close()


@pytest.mark.parametrize("status", [201, 301, 302, 401, 403, 404, 405, 408, 409, 411, 429, 500, 502, 503])
def test_any_other_answer_blames_no_call(answering: Answering, status: int) -> None:
    client = answering(status, b'{"detail": "later"}')
    with pytest.raises(Away, match=f"answered {status}: later"):
        client.send(CALLS)
    client.close()


@pytest.mark.parametrize(
    ("told", "after_s"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", LATEST_S),
        ("1e10", LATEST_S),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
    ],
)
def test_the_gateway_says_when_to_ask_again(answering: Answering, told: str, after_s: float | None) -> None:
    client = answering(503, Retry_After=told)
    with pytest.raises(Away) as info:
        client.send(CALLS)
    assert info.value.after_s == after_s
    client.close()


def test_a_task_is_gone_where_the_gateway_says_so(answering: Answering) -> None:
    client = answering(404, b'{"detail": "no such task: it was never sent"}')
    assert client.task("a").detail.endswith("answered 404: no such task: it was never sent")
    client.close()


@pytest.mark.parametrize("status", [400, 404, 413])
def test_any_other_answer_is_no_word_on_a_task(answering: Answering, status: int) -> None:
    client = answering(status, b'{"detail": "no such path"}')
    with pytest.raises(Away, match=f"answered {status}: no such path"):
        client.task("a")
    client.close()


@contextmanager
def talking(talk: Callable[[socket.socket, Client], None]) -> Iterator[tuple[Client, socket.socket]]:
    """A client whose gateway holds one connection as `talk` does; and the socket on which it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=2)

        def serve() -> None:
            one, _ = listening.accept()
            with one:
                talk(one, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield client, listening
        finally:
            client.close()
            thread.join()


def read_call(one: socket.socket) -> None:
    """Read a request whose body is an empty list."""
    found = b""
    while not found.endswith(b"[]"):
        found += one.recv(65536)


NONE_TAKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"tasks":[]}'


def test_a_call_that_is_interrupted_is_not_sent_anew() -> None:
    def talk(one: socket.socket, client: Client) -> None:
        read_call(one)
        one.sendall(NONE_TAKEN)
        read_call(one)
        client.interrupt()

    with talking(talk) as (client, listening):
        client.send([])
        with pytest.raises(Away):
            client.send([])
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_an_answer_before_the_body_is_read_is_an_answer() -> None:
    def talk(one: socket.socket, _client: Client) -> None:
        one.recv(1024)
        one.sendall(b'HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 23\r\n\r\n{"detail": "too large"}')

    large: list[dict[str, Any]] = [{"task": "shop.echo", "args": ["x" * (32 << 20)]}]
    with talking(talk) as (client, _):
        assert client.send(large).detail.endswith("answered 413: too large")


@pytest.mark.parametrize("url", ["https://ann:secret@queue.example.org", "https://ann@queue.example.org"])
def test_an_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="--token-file") as info:
        Client(url)
    assert "secret" not in str(info.value)
