"""Values at rest: what a payload codec (the setting `payload_codec`) makes of each value before it is written.

A codec is a class without arguments, of the user's or `liteq_crypt.Codec`:

    class Codec:
        key_id = "2026-11"                               # of the key that `encode` uses; may change while it lives

        def encode(self, data: bytes) -> bytes: ...
        def decode(self, data: bytes) -> bytes: ...      # under this key or an older one

A value that it has encoded is an envelope (content.py): `\\x01sealed;KEY\\0` and what `encode` has returned. So a value
that cannot be opened here is told by the same words as any other that is no plain JSON, and `liteq codec rotate` finds
by its first bytes what stands under another key. Values of before the codec have no such head, and stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from liteq.exceptions import CodecError, ImproperlyConfigured
from liteq.serialization.tags import SEAL

__all__ = ["PayloadCodec", "Private", "Vault", "key_of", "open_vault", "unopened"]

TEXT = SEAL.decode()  # of a text that is sealed: the head is the same, what follows is in base64
ID = re.compile(r"[A-Za-z0-9._:@+-]{1,64}")
PROBE = b'[["liteq"],{}]'


class PayloadCodec(Protocol):
    """The codec of an app. Its methods are called under the write lock: they must need nothing but the processor."""

    def encode(self, data: bytes, /) -> bytes:
        """`data` as it is to stand in the file."""

    def decode(self, data: bytes, /) -> bytes:
        """The bytes that `encode` was given."""


class Private(str):
    """A text of the user's that a codec seals, though its column holds text: the words of an exception."""

    __slots__ = ()


def key_of(value: Any) -> str | None:
    """The id of the key under which a stored value is sealed, "" where its codec has told none; None for no such."""
    if isinstance(value, str):
        return value[len(TEXT) :].partition(";")[0] if value.startswith(TEXT) else None
    if isinstance(value, bytes) and value.startswith(SEAL):
        return value[len(SEAL) : 200].partition(b"\0")[0].decode("ascii", "replace")
    return None


class Vault:
    """Seals and opens values by a codec. Without one it opens nothing, and refuses to write into a sealed queue."""

    def __init__(self, codec: PayloadCodec | None, name: str = "") -> None:
        self._codec = codec
        self.name = name  # as the setting names it

    @property
    def is_blind(self) -> bool:
        """Whether there is no codec here: the queue has one, this process does not."""
        return self._codec is None

    @property
    def key_id(self) -> str:
        """The id of the key that values are sealed under now. Raises CodecError where the codec cannot tell."""
        if self._codec is None:
            return ""
        try:
            key_id = str(getattr(self._codec, "key_id", ""))
        except Exception as exc:
            raise CodecError(f"the payload codec {self.name} cannot tell its key: {exc}; nothing was written") from exc
        if key_id and ID.fullmatch(key_id) is None:
            raise CodecError(
                f"the payload codec {self.name} has the key_id {key_id!r}: take 1 to 64 of A-Z a-z 0-9 . _ : @ + -"
            )
        return key_id

    @property
    def head(self) -> bytes:
        """The first bytes of a value that is sealed under the present key."""
        return SEAL + self.key_id.encode() + b"\0"

    def seal(self, data: bytes) -> bytes:
        """`data` as it is written; what is sealed already stays as it is. Raises CodecError."""
        if data.startswith(SEAL):
            return data
        if self._codec is None:
            raise CodecError(
                "the values in this queue are sealed, and this process has no codec: set `payload_codec` as its "
                "workers do; nothing was written"
            )
        head = self.head  # before the value: where the key changes meanwhile, it seems older than it is
        try:
            return head + bytes(self._codec.encode(data))
        except Exception as exc:
            raise CodecError(f"the payload codec {self.name} cannot encode: {_said(exc)}; nothing was written") from exc

    def open(self, data: bytes) -> bytes:
        """The value that is sealed in `data`; `data` itself where it is not sealed. Raises CodecError."""
        if not data.startswith(SEAL):
            return data
        head, _, body = data.partition(b"\0")
        key_id = head[len(SEAL) :].decode("ascii", "replace")
        if self._codec is None:
            raise CodecError(sealed_words(key_id, "this process has no payload_codec"), key_id)
        try:
            return bytes(self._codec.decode(body))
        except Exception as exc:
            raise CodecError(sealed_words(key_id, f"{self.name} cannot decode it: {_said(exc)}"), key_id) from exc

    def seal_text(self, text: str) -> str:
        """As `seal`, of a text."""
        if text.startswith(TEXT):
            return text
        from base64 import b64encode

        head, _, body = self.seal(text.encode("utf-8", "surrogatepass")).partition(b"\0")
        return f"{head.decode()};{b64encode(body).decode()}"  # no NUL: not every engine has it in a text

    def open_text(self, text: str) -> str:
        """As `open`, of a text."""
        if not text.startswith(TEXT):
            return text
        from base64 import b64decode

        key_id, _, body = text[len(TEXT) :].partition(";")
        try:
            sealed = b64decode(body)
        except ValueError as exc:  # words of the user's that begin as a seal does
            raise CodecError(sealed_words(key_id, "it is no sealed text"), key_id) from exc
        return self.open(SEAL + key_id.encode() + b"\0" + sealed).decode("utf-8", "surrogatepass")

    def fingerprint(self, text: str) -> str | None:
        """A digest of `text`, for what must be compared and not be read; None where the codec makes none.

        It stays the same when keys change.
        """
        make: Callable[[bytes], bytes | None] | None = getattr(self._codec, "fingerprint", None)
        if make is None:
            return None
        try:
            made = make(text.encode("utf-8", "surrogatepass"))
            return None if made is None else bytes(made).hex()
        except Exception as exc:
            raise CodecError(f"the payload codec {self.name} makes no fingerprint: {_said(exc)}") from exc


def unopened(data: bytes) -> CodecError:
    """The error for a sealed value that has come to its reader unopened."""
    key_id = key_of(data) or ""
    return CodecError(sealed_words(key_id, "this process cannot open it"), key_id)


def sealed_words(key_id: str, why: str) -> str:
    """The sentence for a value that cannot be opened."""
    key = f"the key {key_id!r}" if key_id else "a key without an id"
    return f"a stored value is sealed under {key}, and {why}. It stays in the file: give this process that key"


def _said(exc: Exception) -> str:
    """The words of an exception of a codec's; its class where it has none, as those of `cryptography`."""
    if isinstance(exc, ImproperlyConfigured):  # words of ours
        return str(exc)
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__


def open_vault(codec: Any, name: str) -> Vault:
    """The vault of a codec: a class, or what a function without arguments returns, or an instance.

    It is tried once. Raises ImproperlyConfigured where it is no codec, or does not give back what it was given.
    """
    if isinstance(codec, ModuleType):
        raise ImproperlyConfigured(f"payload_codec: {name} is a module; name its class: {name}:Codec")
    try:
        made = codec() if isinstance(codec, type) or not hasattr(codec, "encode") else codec
    except Exception as exc:
        raise ImproperlyConfigured(f"payload_codec: {name} cannot be made: {_said(exc)}") from exc
    missing = [method for method in ("encode", "decode") if not callable(getattr(made, method, None))]
    if missing:
        raise ImproperlyConfigured(
            f"payload_codec: {name} has no {' and no '.join(missing)}: it takes encode(bytes) -> bytes and its inverse"
        )
    vault = Vault(made, name)
    try:
        found = vault.open(vault.seal(PROBE))
    except CodecError as exc:
        raise ImproperlyConfigured(f"payload_codec: {exc}") from exc
    if found != PROBE:
        raise ImproperlyConfigured(f"payload_codec: what {name} encodes does not come back from its decode")
    return vault
