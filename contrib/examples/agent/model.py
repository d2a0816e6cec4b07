"""A fake model server: `python model.py PORT LEDGER`. It answers as a model would, and charges a cent a call.

Each call that it answers is a line of LEDGER: that is the bill. As a payment service does, it keeps its answers by the
idempotency key of the request: the same key again gets the same answer, and is not billed.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serve"]

TOOLS = ("weather", "calendar")


def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Two rounds of tools, then a text; the same for the same conversation."""
    rounds = sum(message["role"] == "assistant" for message in messages)
    if rounds < 2:
        return {"role": "assistant", "tools": [f"{tool} {rounds + 1}" for tool in TOOLS], "text": ""}
    said = "; ".join(str(message["text"]) for message in messages if message["role"] == "tool")
    return {"role": "assistant", "tools": [], "text": f"I have looked at: {said}"}


class Handler(BaseHTTPRequestHandler):
    """POST: one call of the model."""

    ledger: Path
    answers: dict[str, dict[str, Any]]
    lock: threading.Lock

    def do_POST(self) -> None:
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        with self.lock:
            if key not in self.answers:
                self.answers[key] = answer(messages)
                with self.ledger.open("a") as bill:
                    bill.write(f"{key}\n")
        body = json.dumps(self.answers[key]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def serve(port: int, ledger: Path) -> ThreadingHTTPServer:
    """A server that listens; the caller runs it."""
    own = {"ledger": ledger, "answers": {}, "lock": threading.Lock()}
    return ThreadingHTTPServer(("127.0.0.1", port), type("Billed", (Handler,), own))


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
