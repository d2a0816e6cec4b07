"""A payload codec for tests."""

from __future__ import annotations

import hashlib

__all__ = ["Backwards"]

THERE = bytes((n + 77) % 256 for n in range(256))
BACK = bytes((n - 77) % 256 for n in range(256))


class Backwards:
    """A codec that hides nothing from a person, and all from a search."""

    def __init__(self, key_id: str = "k1", known: tuple[str, ...] = ("k1", "k2")) -> None:
        self.key_id = key_id
        self.known = known

    def encode(self, data: bytes) -> bytes:
        return self.key_id.encode() + b"|" + data[::-1].translate(THERE)

    def decode(self, data: bytes) -> bytes:
        key_id, _, body = data.partition(b"|")
        if key_id.decode() not in self.known:
            raise KeyError(key_id.decode())
        return body.translate(BACK)[::-1]

    def fingerprint(self, data: bytes) -> bytes:
        return hashlib.sha256(b"pepper" + data).digest()
