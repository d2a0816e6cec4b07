"""A gateway in this process, on a port of its own, and a program that calls it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from liteq import LiteQ
from liteq.edge import Gateway, gateway
from liteq.edge.server import Server

__all__ = ["Client", "Reply", "Running", "key_file", "running"]


class Reply(NamedTuple):
    """An answer: its status, its headers by lower-case name, its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A program without liteq: plain HTTP, with a token or without."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self._token = token

    def __call__(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {**sent, **headers})
        answer = connection.getresponse()
        found = Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def raw(self, data: bytes, *, until_s: float = 30.0) -> bytes:
        """The answer to bytes as they are, until the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=until_s) as one:
            one.sendall(data)
            found = b""
            while part := one.recv(65536):
                found += part
        return found


class Running(NamedTuple):
    """The gateway and its port."""

    gateway: Gateway
    port: int

    def client(self, token: str | None = None) -> Client:
        return Client(self.port, token)


@contextmanager
def running(app: LiteQ, *, keys: Path | None = None, read_timeout_s: float = 10.0, port: int = 0) -> Iterator[Running]:
    """Within the block the gateway of `app` is served."""
    door = gateway(app, key_file=keys)
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = Server(listening, door, read_timeout_s=read_timeout_s)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Running(door, listening.getsockname()[1])
        finally:
            server.shutdown()
            thread.join()
            door.close()


def key_file(folder: Path, **keys: Mapping[str, Any]) -> Path:
    """A file of keys, by their tokens."""
    path = folder / "keys.json"
    path.write_text(json.dumps(keys))
    path.chmod(0o600)
    return path
