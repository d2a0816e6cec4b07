r"""AES-256-GCM, by the `cryptography` library.

    \x01  length of the id  id  16 bytes of salt  8 bytes of counter  ciphertext and tag

Each process encodes under a key of its own, which HKDF makes of the one in the ring and a random salt, and counts its
values: so no two share a nonce, however many there are, and nobody has to count them. What stands before the ciphertext
is authenticated with it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from itertools import count
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from liteq_crypt.keys import Keys

__all__ = ["Codec"]

VERSION = b"\x01"
SALT, COUNTER = 16, 8  # bytes
PADDING = bytes(12 - COUNTER)  # of the nonce, which has 12
LABEL = b"liteq_crypt 1"


@lru_cache(maxsize=4096)
def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, salt, LABEL).derive(key))


_forks = count()
_generation = next(_forks)


def _forked() -> None:
    global _generation
    _generation = next(_forks)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Writing(NamedTuple):
    """The means by which one process encodes: the head of its values, its own cipher, the number of the next."""

    process: tuple[int, int]  # its number may come again: a copy of this one must not count on
    key_id: str
    head: bytes
    cipher: AESGCM
    numbers: count[int]


def _process() -> tuple[int, int]:
    return os.getpid(), _generation


class Codec:
    """A payload codec; `keys` by default those of the environment. Safe to use from any thread, and after a fork."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
        self._writing: _Writing | None = None

    @property
    def key_id(self) -> str:
        """The id of the key that encodes now."""
        return self.keys.ring.first

    def encode(self, data: bytes) -> bytes:
        """`data`, encrypted and authenticated under the first key."""
        ring, writing = self.keys.ring, self._writing
        if writing is None or writing.key_id != ring.first or writing.process != _process():
            writing = self._writing = self._begin(ring.first, ring.keys[ring.first])
        number = next(writing.numbers).to_bytes(COUNTER, "big")
        head = writing.head + number
        return head + writing.cipher.encrypt(PADDING + number, data, head)

    def decode(self, data: bytes) -> bytes:
        """The bytes that `encode` was given, here or elsewhere. Raises UnknownKey; ValueError for what was changed."""
        if data[:1] != VERSION or len(data) < 2:
            raise ValueError("liteq_crypt has not written it, or a newer one")
        end = 2 + data[1] + SALT + COUNTER
        if len(data) < end:
            raise ValueError("it is cut off")
        key_id = data[2 : 2 + data[1]].decode("ascii", "replace")
        head, number = data[:end], data[end - COUNTER : end]
        cipher = _cipher(self.keys.key(key_id), data[2 + data[1] : end - COUNTER])
        try:
            return cipher.decrypt(PADDING + number, data[end:], head)
        except InvalidTag:
            raise ValueError(f"it was changed, or was written under another key with the id {key_id!r}") from None

    def fingerprint(self, data: bytes) -> bytes | None:
        """A keyed digest of `data`, the same for all processes and over all changes of the keys.

        None where no key has the id `fingerprint`.
        """
        from hmac import digest

        key = self.keys.ring.fingerprint
        return None if key is None else digest(key, data, "sha256")

    @staticmethod
    def _begin(key_id: str, key: bytes) -> _Writing:
        salt = os.urandom(SALT)
        id_ = key_id.encode()
        return _Writing(_process(), key_id, VERSION + bytes([len(id_)]) + id_ + salt, _cipher(key, salt), count())
