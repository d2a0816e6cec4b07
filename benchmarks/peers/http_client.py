"""One HTTP connection that stays open, for what is sent without a library: as little of a client as there can be."""

from __future__ import annotations

import http.client

__all__ = ["Posting"]


class Posting:
    """POSTs bodies to one path of a server of this machine."""

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._path = path

    def __call__(self, body: bytes) -> bytes:
        """The answer's body. Raises RuntimeError for any status but 200."""
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {said[:300]!r}")
        return said
