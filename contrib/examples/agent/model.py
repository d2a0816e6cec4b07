"""A fake model server: `python model.py PORT LEDGER`. It answers as a model would, and charges a cent a call.

Each call is a line of LEDGER, written before the answer leaves: that is the bill.
"""

from __future__ import annotations

import hashlib
import json
import sys
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
    """POST: one call of the model. Its idempotency key is of no use to this server, as with most models."""

    ledger: Path

    def do_POST(self) -> None:
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()[:16]
        with self.ledger.open("a") as bill:
            bill.write(f"{asked}\n")
        body = json.dumps(answer(messages)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve(port: int, ledger: Path) -> ThreadingHTTPServer:
    """A server that listens; the caller runs it."""
    return ThreadingHTTPServer(("127.0.0.1", port), type("Billed", (Handler,), {"ledger": ledger}))


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
