"""The app of `liteq demo`: what a small real one looks like."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from liteq import LiteQ

__all__ = ["Digest", "app", "count", "digest", "double", "first_line", "flaky", "report"]

app = LiteQ("liteq.demo")

Digest = list[Any]  # sha256, bytes, lines, words
CHUNK = 1024 * 1024


@app.task
def digest(path: str) -> Digest:
    """A file's SHA-256, and how many bytes, lines and words it has."""
    return count(path)


def count(path: str) -> Digest:
    """The result of `digest`, worked out without the queue: the demo compares the two."""
    sha, size, lines, words, inside = hashlib.sha256(), 0, 0, 0, False
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
            words += len(chunk.split()) - (inside and not chunk[:1].isspace())  # a word cut in two is one
            inside = not chunk[-1:].isspace()
    return [sha.hexdigest(), size, lines, words]


@app.task
def report(digests: list[Digest]) -> dict[str, Any]:
    """The files' totals, and one SHA-256 over theirs in order."""
    return {
        "files": len(digests),
        "bytes": sum(d[1] for d in digests),
        "lines": sum(d[2] for d in digests),
        "words": sum(d[3] for d in digests),
        "sha256": hashlib.sha256("".join(d[0] for d in digests).encode()).hexdigest(),
    }


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_kwargs={"countdown": 0.05, "max_retries": 3})
def flaky(self: Any) -> int:
    """Fails on its first attempt, as a network does; the number of the attempt that succeeded."""
    if self.request.retries == 0:
        raise ConnectionError("the first attempt always fails")
    return int(self.request.retries) + 1


@app.task
def double(number: int) -> int:
    return number * 2


@app.task
def first_line(path: str) -> str:
    """Needs a file that is not there at first: it becomes a dead letter, and succeeds when it is requeued."""
    return Path(path).read_text(encoding="utf-8").splitlines()[0]
