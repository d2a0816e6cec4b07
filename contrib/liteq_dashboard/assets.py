"""The files of `static/`: each has its hash in its path, so a browser keeps it until it changes."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Asset", "asset", "asset_path"]

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
HASH_DIGITS = 16


class Asset(NamedTuple):
    """A file of `static/`: its bytes, its media type, and the first digits of its SHA-256."""

    body: bytes
    type: str
    hash: str


@functools.cache
def _assets() -> dict[str, Asset]:
    """All of them, by name ("vendor/htmx.min.js"): read once, so that no path of a request reaches the disk."""
    found: dict[str, Asset] = {}
    root = files("liteq_dashboard") / "static"
    for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
        for file in folder.iterdir():
            kind = TYPES.get(file.name.rpartition(".")[2])
            if file.is_file() and kind:
                body = file.read_bytes()
                found[prefix + file.name] = Asset(body, kind, hashlib.sha256(body).hexdigest()[:HASH_DIGITS])
    return found


def asset(name: str) -> Asset | None:
    """The file `name` of `static/`."""
    return _assets().get(name)


def asset_path(base: str, name: str) -> str:
    """The path of the file `name` of `static/` below `base`. Raises KeyError where it is not there."""
    return f"{base}/static/{_assets()[name].hash}/{name}"
