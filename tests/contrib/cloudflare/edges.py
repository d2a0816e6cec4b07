"""The examples for Cloudflare as people start them: `npm run dev`, in Cloudflare's own runtime."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["KINDS", "Edge", "Reply"]

KINDS = ("object", "d1")


class Reply(NamedTuple):
    """An answer: its status, and its JSON; where it is none, its text."""

    status: int
    json: Any


class Edge:
    """`npm run dev` of one example, in a process group of its own. `folder`: where both examples are installed."""

    def __init__(self, folder: Path, kind: str, gateway: str, **settings: str) -> None:
        self._where = folder / f"cloudflare-{kind}"
        self._env = {**os.environ, "GATEWAY_URL": gateway, "PORT": "0", **settings}
        self.said: list[str] = []
        self._changed = threading.Condition()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves; on the same port as before."""
        self._process = subprocess.Popen(
            ["npm", "run", "dev"], cwd=self._where, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        told = len(self.said)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        url = self.says(r"ready: http://127\.0\.0\.1:(\d+)/", after=told)
        self._env["PORT"] = url
        self.port = int(url)

    def says(self, pattern: str, *, after: int = 0, within_s: float = 60) -> str:
        """The first group of the first line that matches, past the first `after` lines."""
        found: list[str] = []

        def is_said() -> bool:
            found[:] = [match[1] for line in self.said[after:] if (match := re.search(pattern, line))]
            return bool(found) or self._process.poll() is not None

        with self._changed:
            assert self._changed.wait_for(is_said, within_s), "".join(self.said)
        assert found, "".join(self.said)
        return found[0]

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    self.said.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def kill(self) -> None:
        """SIGKILL for all of its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def kill_npm(self) -> None:
        """SIGKILL for npm alone, which can tell nobody."""
        self._process.kill()
        self._process.wait(60)

    def end(self) -> None:
        """Ask it to end; the group is empty afterwards."""
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._kill_rest()

    def _kill_rest(self) -> None:
        give_up = time.monotonic() + 60
        while self.is_running():
            if time.monotonic() > give_up:
                os.killpg(self._process.pid, signal.SIGKILL)
                raise AssertionError("it was asked to end, and did not")
            time.sleep(0.02)

    def is_running(self) -> bool:
        """Whether any of its processes is there."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def __call__(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] = {}) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = body if body is None or isinstance(body, (bytes, Iterator)) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, dict(headers))
            answer = connection.getresponse()
            data = answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return Reply(answer.status, json.loads(data) if is_json else data.decode())
        finally:
            connection.close()

    def send(self, *calls: dict[str, Any], **headers: str) -> Reply:
        return self(
            "POST", "/v1/tasks", list(calls), {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def look(self) -> dict[str, Any]:
        """The outbox: how much waits, and for what."""
        found: dict[str, Any] = self("GET", "/v1/outbox").json
        return found

    def refused(self) -> dict[str, str]:
        """The calls that were refused, by their ids, with their reasons."""
        return {one["id"]: one["detail"] for one in self("GET", "/v1/refused").json["refused"]}
