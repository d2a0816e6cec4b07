"""A fake of OpenAI's Responses API: `python model.py PORT BILL`. Each answer is a line of BILL.

It wants the order looked up, then paid back, and then it thanks.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serve"]

ORDER = {"order": "A1"}


def answer(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output of a model that has seen `items`: those since the last question."""
    asked = max(n for n, item in enumerate(items) if item.get("role") == "user")
    done = [item for item in items[asked:] if item.get("type") == "function_call_output"]
    call = f"{asked}-{len(done)}"
    if not done:
        return [_call(call, "look_up", ORDER)]
    if len(done) == 1:
        return [_call(call, "pay_back", {**ORDER, "amount": 30})]
    text = f"Done: {done[-1]['output']}."
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return [{"id": f"m-{call}", "type": "message", "role": "assistant", "status": "completed", "content": content}]


def _call(call: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"f-{call}",
        "type": "function_call",
        "call_id": f"call-{call}",
        "name": name,
        "arguments": json.dumps(arguments),
        "status": "completed",
    }


class Handler(BaseHTTPRequestHandler):
    """One request of the API."""

    server: Model

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        given = asked["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        number = self.server.charge(asked["model"], len(items))
        usage = {
            "input_tokens": 10 * len(items), "output_tokens": 5, "total_tokens": 10 * len(items) + 5,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
        }  # fmt: skip
        response = {
            "id": f"resp-{number}", "object": "response", "created_at": 0, "model": asked["model"],
            "status": "completed", "output": answer(items), "usage": usage, "tools": [], "tool_choice": "auto",
            "parallel_tool_calls": True,
        }  # fmt: skip
        body = json.dumps(response).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


class Model(ThreadingHTTPServer):
    """The server, with its bill."""

    daemon_threads = True

    def __init__(self, port: int, bill: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.bill = bill
        self.lock = threading.Lock()
        self.answers = 0

    def charge(self, model: str, items: int) -> int:
        """Write a line of the bill; its number."""
        with self.lock, self.bill.open("a") as bill:
            self.answers += 1
            bill.write(f"{model} {items} items\n")
            return self.answers


def serve(port: int, bill: Path) -> Model:
    """The server on `port` (0: any that is free), not running yet."""
    return Model(port, bill)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
