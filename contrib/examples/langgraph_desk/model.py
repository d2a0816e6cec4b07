"""A fake model server: it answers each prompt alike, and each call is a line of its bill."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serve"]


class Handler(BaseHTTPRequestHandler):
    """POST: one call of the model."""

    bill: Path
    lock: threading.Lock

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
        with self.lock, self.bill.open("a") as bill:
            bill.write(f"{prompt}\n")
        what, _, text = prompt.partition(": ")
        said = f"it is fine: {text}" if what == "Look over" else f"we look after {text}"
        body = json.dumps({"text": said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def serve(bill: Path) -> ThreadingHTTPServer:
    """A server that listens on a free port; the caller runs it."""
    own = {"bill": bill, "lock": threading.Lock()}
    return ThreadingHTTPServer(("127.0.0.1", 0), type("Billed", (Handler,), own))
