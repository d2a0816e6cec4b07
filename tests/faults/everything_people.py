"""People beside a drill: two who decide the same approvals at once, and viewers of pages and of metrics."""

from __future__ import annotations

import random
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from http.cookiejar import CookieJar
from typing import Any

from liteq.exceptions import AlreadyDecided, LiteqError, WorkflowError

__all__ = ["Approvers", "Viewer"]

BUSY = 503  # a page of a file that is held up says so
ASKS_AGAIN = {401, 403}  # the key of a server that was started again is another one


class Approvers:
    """Two people, who decide whatever is open as they like. `decided`: what held, by run."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.decided: dict[str, bool] = {}
        self._troubles: list[str] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._decide, args=(n,), daemon=True) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def _decide(self, n: int) -> None:
        rng = random.Random(n)
        while not self._over.wait(0.05):
            try:
                for one in self._app.storage.runs.approvals():
                    self._decide_one(one.run_id, one.title, ok=rng.random() < 0.7, by=f"person {n}")
            except LiteqError:  # the file is held up: they try again
                continue

    def _decide_one(self, run_id: str, title: str, *, ok: bool, by: str) -> None:
        try:
            was_first = self._app.Run(run_id).approve(title, ok, by=by)
        except AlreadyDecided:
            return
        except WorkflowError:  # the other one has decided, and the run has gone on
            return
        with self._lock:
            if was_first and run_id in self.decided:
                self._troubles.append(f"{run_id} was decided twice")
            if was_first:
                self.decided[run_id] = ok

    def end(self) -> list[str]:
        """Stop both; the troubles that they had."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        return self._troubles


class Viewer:
    """Somebody who reads pages again and again. `address`: the first of them, which gives a cookie, or "" for now."""

    def __init__(self, address: Callable[[], str], pages: Sequence[str], has: bytes = b"") -> None:
        self._address, self._pages, self._has = address, pages, has
        self.seen = 0
        self._troubles: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        opener, entered = urllib.request.build_opener(), ""
        n = 0
        while not self._over.wait(0.05):
            if not (address := self._address()):
                continue
            try:
                if address != entered and "/enter/" in address:
                    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
                    opener.open(address, timeout=30).close()
                    entered = address
                n += 1
                self._read(opener, address.partition("/enter/")[0].rstrip("/") + self._pages[n % len(self._pages)])
            except urllib.error.HTTPError as exc:
                if exc.code in ASKS_AGAIN:
                    entered = ""
                elif exc.code != BUSY:
                    self._troubles.append(f"{exc.url} answered {exc.code}: {exc.read()[:300]!r}")
            except (OSError, HTTPException):  # the server was killed, or is not there yet
                continue

    def _read(self, opener: urllib.request.OpenerDirector, url: str) -> None:
        with opener.open(url, timeout=60) as answer:
            body = answer.read()
        if not body and "Content-Length" not in answer.headers:  # the server was killed within the headers
            return
        if self._has not in body:
            self._troubles.append(f"{url} lacks {self._has!r}: {body[:300]!r}")
        self.seen += 1

    def end(self) -> list[str]:
        """Stop; the troubles that the viewer had."""
        self._over.set()
        self._thread.join(90)
        return self._troubles
