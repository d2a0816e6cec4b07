"""Keys by id, from a file that is read anew when it changes, from the environment, or as they are given.

A line is `ID:KEY`, the key 32 bytes in base64; `#` begins a comment. The first encodes, all decode. The key with the id
`fingerprint` does neither: it makes digests of what is compared, unique keys say, and stays when the others change.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

from liteq.exceptions import ImproperlyConfigured

__all__ = ["FINGERPRINT", "Keys", "UnknownKey", "check_id", "new_key"]

logger = logging.getLogger("liteq.crypt")

FILE = "PAYLOAD_KEYS_FILE"
INLINE = "PAYLOAD_KEYS"  # lines, or `ID:KEY,ID:KEY`
FINGERPRINT = "fingerprint"
SIZE = 32  # bytes of a key
LOOK_S = 1.0  # between two looks whether the file has changed
ID = re.compile(r"[A-Za-z0-9._@+-]{1,64}")


class UnknownKey(LookupError):
    """Raised for a value under a key that is not here."""


class Ring(NamedTuple):
    """The keys as they are now. `first` encodes."""

    first: str
    keys: Mapping[str, bytes]
    fingerprint: bytes | None


def new_key() -> str:
    """A new key, as text for the file of keys."""
    return base64.b64encode(secrets.token_bytes(SIZE)).decode()


def check_id(id_: str) -> str:
    """`id_`. Raises ValueError for one that is none."""
    if ID.fullmatch(id_) is None:
        raise ValueError(f"the id of a key is 1 to 64 of A-Z a-z 0-9 . _ @ + -, not {id_!r}")
    return id_


class Keys:
    """A ring of keys, safe to use from any thread.

    `given`: keys by id, the first of which encodes. `file`: where they are read from. Neither: as the environment says.
    Raises ImproperlyConfigured where there are none, or one is no key; it never quotes one.
    """

    def __init__(self, given: Mapping[str, str | bytes] | None = None, *, file: str | os.PathLike[str] | None = None):
        self._lock = threading.Lock()
        _all.add(self)
        self._file = Path(file) if file is not None else None
        self._inline: list[str] | None = None
        if given is not None:
            self._ring = _ring(given.items(), "the keys that were given")
            self.source = "given in code"
            return
        if self._file is None and os.environ.get(FILE):
            self._file = Path(os.environ[FILE])
        if self._file is None:
            text = os.environ.get(INLINE)
            if not text:
                raise ImproperlyConfigured(
                    f"liteq_crypt has no keys: set {FILE} to a file of lines ID:KEY (`python -m liteq_crypt ID` prints "
                    f"one), or {INLINE}"
                )
            self._ring = _ring(_entries(text.replace(",", "\n").splitlines(), INLINE), INLINE)
            self.source = INLINE
            return
        self.source = str(self._file)
        self._stamp = self._look()
        self._looked_at = time.monotonic()
        self._ring = self._read()

    @property
    def ring(self) -> Ring:
        """The keys, read anew where their file has changed; looked at once a second."""
        if self._file is not None and time.monotonic() - self._looked_at >= LOOK_S:
            self.refresh()
        return self._ring

    def key(self, id_: str) -> bytes:
        """The key `id_`, from the file as it is now. Raises UnknownKey."""
        found = self.ring.keys.get(id_)
        if found is None:
            self.refresh()
            found = self._ring.keys.get(id_)
        if found is None:
            known = ", ".join(self._ring.keys)
            raise UnknownKey(f"the key {id_!r} is not among those of {self.source} ({known})")
        return found

    def refresh(self) -> None:
        """Read the file where it has changed. One that cannot be read, half written say, changes nothing."""
        if self._file is None:
            return
        with self._lock:
            self._looked_at = time.monotonic()
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    return
                self._ring, self._stamp = self._read(), stamp
            except ImproperlyConfigured as exc:
                logger.error("%s; the keys of before stay", exc)  # noqa: TRY400 - in one line

    def _look(self) -> tuple[int, ...]:
        assert self._file is not None
        try:
            found = self._file.stat()
        except OSError as exc:
            raise ImproperlyConfigured(f"the file of keys {self._file} cannot be read: {exc.strerror}") from None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Ring:
        assert self._file is not None
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise ImproperlyConfigured(f"the file of keys {self._file} cannot be read: {type(exc).__name__}") from None
        return _ring(_entries(lines, self.source), self.source)


_all: WeakSet[Keys] = WeakSet()


def _forked() -> None:
    """Let go of locks that a thread of the parent held: it is not here, and nobody else would."""
    for one in _all:
        one._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _entries(lines: Iterable[str], source: str) -> list[tuple[str, str]]:
    found = []
    for n, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        id_, colon, key = text.partition(":")
        if not colon:
            raise ImproperlyConfigured(f"line {n} of {source} is not ID:KEY; `python -m liteq_crypt ID` prints one")
        found.append((id_.strip(), key.strip()))
    return found


def _ring(entries: Iterable[tuple[str, str | bytes]], source: str) -> Ring:
    keys: dict[str, bytes] = {}
    for id_, key in entries:
        try:
            check_id(id_)
        except ValueError as exc:
            raise ImproperlyConfigured(f"{source}: {exc}") from None
        if id_ in keys:
            raise ImproperlyConfigured(f"{source} has the key {id_!r} twice")
        keys[id_] = _key(id_, key, source)
    fingerprint = keys.pop(FINGERPRINT, None)
    if not keys:
        raise ImproperlyConfigured(f"{source} has no key that encodes; `python -m liteq_crypt ID` prints one")
    return Ring(next(iter(keys)), keys, fingerprint)


def _key(id_: str, key: str | bytes, source: str) -> bytes:
    try:
        made = key if isinstance(key, bytes) else base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        made = b""
    if len(made) != SIZE:
        raise ImproperlyConfigured(
            f"{source}: the key {id_!r} is not {SIZE} bytes in base64; `python -m liteq_crypt ID` prints one"
        )
    return made
