"""A fake model server: `python model.py PORT LEDGER`. It speaks OpenAI's chat completions, streams, and sends a bill.

Each request that it answers is a line of LEDGER: how far the conversation was, and what it began with. It answers the
same for the same conversation: two lookups and a refund, then a text.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["serve"]

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
Message = dict[str, Any]


def tool(name: str, number: int, **arguments: Any) -> Message:
    """A call of a tool."""
    call = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{name}_{number}", "type": "function", "index": number, "function": call}


def answer(messages: list[Message]) -> Message:
    """The next line of the conversation."""
    said = sum(message["role"] == "assistant" for message in messages)
    if said == 0:
        calls = [tool("look_up", 0, order=7), tool("look_up", 1, order=8), tool("refund", 2, order=7, amount=20)]
        return {"role": "assistant", "content": None, "tool_calls": calls}
    results = [str(message["content"]) for message in messages if message["role"] == "tool"]
    return {"role": "assistant", "content": f"I have done this: {'; '.join(results)}."}


class Handler(BaseHTTPRequestHandler):
    """POST: one request of the model."""

    protocol_version = "HTTP/1.1"
    ledger: Path
    delay_s: float
    lock: threading.Lock

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = asked["messages"]
        said = sum(message["role"] == "assistant" for message in messages)
        question = next(message["content"] for message in messages if message["role"] == "user")
        with self.lock, self.ledger.open("a") as bill:
            bill.write(f"{said} {question}\n")
        message = answer(messages)
        if asked.get("stream"):
            self._stream(message)
            return
        time.sleep(self.delay_s)
        whole = {**self._head("chat.completion"), "usage": USAGE, "choices": [self._choice("message", message)]}
        self._send(json.dumps(whole).encode(), "application/json")

    def _stream(self, message: Message) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for delta in self._deltas(message):
            chunk = {**self._head("chat.completion.chunk"), "choices": [{"index": 0, "delta": delta}]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            time.sleep(self.delay_s / 5)
        end = {**self._head("chat.completion.chunk"), "usage": USAGE, "choices": [self._choice("delta", {}, message)]}
        self.wfile.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        self.close_connection = True

    @staticmethod
    def _deltas(message: Message) -> Iterator[Message]:
        if message.get("tool_calls"):
            yield {"role": "assistant", "tool_calls": message["tool_calls"]}
            return
        for number, word in enumerate(message["content"].split(" ")):
            yield {"role": "assistant", "content": f" {word}" if number else word}

    @staticmethod
    def _choice(name: str, said: Message, message: Message | None = None) -> Message:
        reason = "tool_calls" if (message or said).get("tool_calls") else "stop"
        return {"index": 0, name: said, "finish_reason": reason}

    @staticmethod
    def _head(kind: str) -> Message:
        return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": "fake-1"}

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server to whose end no connection of a killed client belongs."""

    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Say nothing: a client that is killed hangs up."""


def serve(port: int, ledger: Path, delay_s: float = 0.0) -> ThreadingHTTPServer:
    """A server that listens; the caller runs it. `delay_s`: of each answer."""
    own = {"ledger": ledger, "delay_s": delay_s, "lock": threading.Lock()}
    return Server(("127.0.0.1", port), type("Billed", (Handler,), own))


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
