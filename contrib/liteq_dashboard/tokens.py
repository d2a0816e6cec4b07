"""Files of tokens: `{"TOKEN": {"name": "ann", "rights": ["operator"], "queues": ["mail*"]}}`, for its owner alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import orjson

from liteq.exceptions import ImproperlyConfigured
from liteq.utils.misspelt import nearest
from liteq_dashboard.access import Viewer

__all__ = ["Tokens"]

FIELDS = ("name", "rights", "queues")


class Tokens:
    """The viewers of a file, by their tokens, of which only the hashes are kept."""

    def __init__(self, viewers: Mapping[str, Viewer] | None = None) -> None:
        self._viewers = {_hash(token): viewer for token, viewer in (viewers or {}).items()}

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read the file. Raises ImproperlyConfigured where others may read it, and for what is no such file."""
        try:
            mode = path.stat().st_mode
            text = path.read_bytes()
        except OSError as exc:
            raise ImproperlyConfigured(f"the file of tokens {path} cannot be read: {exc.strerror}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ImproperlyConfigured(f"others may read the file of tokens {path}: chmod 600 {path}")
        try:
            found = orjson.loads(text)
        except ValueError as exc:
            raise ImproperlyConfigured(f"the file of tokens {path} is not JSON: {exc}") from None
        if not isinstance(found, dict) or not found:
            raise ImproperlyConfigured(
                f'the file of tokens {path} holds an object such as {{"TOKEN": {{"name": "ann", "rights": ["view"]}}}}'
            )
        return cls({token: _viewer(path, n, token, entry) for n, (token, entry) in enumerate(found.items(), 1)})

    def viewer(self, token: str) -> Viewer | None:
        """The viewer of `token`; takes the same time for any that is none."""
        given, found = _hash(token), None
        for known, viewer in self._viewers.items():
            if hmac.compare_digest(given, known):
                found = viewer
        return found

    def named(self, name: str) -> Viewer | None:
        """The first viewer of that name."""
        return next((viewer for viewer in self._viewers.values() if viewer.name == name), None)

    def __bool__(self) -> bool:
        return bool(self._viewers)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _viewer(path: Path, n: int, token: str, entry: object) -> Viewer:
    where = f"entry {n} of the file of tokens {path}"  # never the token
    if not token.strip():
        raise ImproperlyConfigured(f"{where} has an empty token")
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "rights" not in entry:
        raise ImproperlyConfigured(f'{where} is not as {{"name": "ann", "rights": ["view"]}}')
    for field in entry.keys() - set(FIELDS):
        near = nearest(str(field), FIELDS)
        raise ImproperlyConfigured(f"{where} has an unknown field {field!r}; use {near or ', '.join(FIELDS)}")
    for field in ("rights", "queues"):
        value = entry.get(field, [])
        if not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))):
            raise ImproperlyConfigured(f"{where}: {field} is a list of names")
    try:
        return Viewer(entry["name"], entry["rights"], entry.get("queues"))
    except ValueError as exc:
        raise ImproperlyConfigured(f"{where}: {exc}") from None
