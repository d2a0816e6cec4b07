"""A control socket as Litestream has it, which answers what a test says."""

from __future__ import annotations

import json
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any]] | None  # None: the connection ends without one


class ControlSocket:
    """`asked` are the requests; `syncs` the answers to come to a sync, of which the last one stays."""

    def __init__(self, path: Path, database: Path) -> None:
        self.path = path
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.databases = [{"path": str(database), "status": "replicating"}]
        self.syncs: list[Answer] = [(200, {"status": "synced", "txid": 7, "replicated_txid": 7})]
        self.at_sync: Callable[[], object] = list

    def answer(self, path: str, document: dict[str, Any]) -> Answer:
        self.asked.append((path, document))
        if path == "/list":
            return 200, {"databases": self.databases}
        self.at_sync()
        return self.syncs.pop(0) if len(self.syncs) > 1 else self.syncs[0]

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def control_socket(database: Path) -> Iterator[ControlSocket]:
    """One that copies `database`."""
    folder = Path(tempfile.mkdtemp(prefix="liteq-"))  # the path of a socket is short, a test's folder is not
    control = ControlSocket(folder / "control", database)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None: ...

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            answer = control.answer(self.path, json.loads(self.rfile.read(length) or b"{}"))
            if answer is None:
                self.close_connection = True
                return
            body = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

    server = _Server(str(control.path), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield control
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        shutil.rmtree(folder)
