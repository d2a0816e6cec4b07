r"""The forms that an app may write and read beyond plain JSON: other serializers, compression, signed pickles.

Plain JSON is stored as it is. Everything else is an envelope, which begins with a byte that no JSON begins with:

    \x01  content type ; compression  \x00  [32 bytes of HMAC-SHA256, for a pickle]  data

The HMAC is over all the rest, and over the place that it was made for: arguments are those of one message and one task,
a result is a result. So a pickle that somebody copies to another row is not read there. It is compared, in constant
time, before anything is decompressed or unpickled. What is read is read within the limits that hold for writing: size
after decompression, and depth.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import orjson

from liteq.exceptions import (
    BadMessage,
    ImproperlyConfigured,
    LiteqError,
    NotSerializable,
    PayloadTooLarge,
    SecurityError,
)
from liteq.serialization import codec
from liteq.serialization.compression import compress, decompress
from liteq.serialization.serializers import JSON, PICKLE, encoder_of, serializer, serializer_of_type
from liteq.serialization.tags import ENCLOSED, ENVELOPE, SEALED, TYPE, VALUE
from liteq.utils.records import NamedTuple

if TYPE_CHECKING:
    from liteq.serialization.sealing import Vault

__all__ = ["ENVELOPE", "LEAST_KEY", "Content", "Owner", "as_json", "kind_of", "options_of"]

MAC_SIZE = 32  # bytes of SHA-256
LEAST_KEY = 16  # characters


class Owner(NamedTuple):
    """The message whose arguments an envelope holds: its id, and the name of its task."""

    id: str
    task: str


class Content:
    """The rules of one app, for arguments or for results, as `purpose` says.

    `accept` are names or content types of what is read (plain JSON always is: liteq's own rows are), `keys` those of
    `pickle_key` (the first signs), `limit` is in bytes, `setting` the one that raises it.
    """

    def __init__(
        self,
        *,
        accept: Iterable[str] = ("json",),
        keys: Iterable[str] = (),
        limit: int,
        setting: str = "max_payload_bytes",
        max_depth: int = codec.MAX_NESTING,
        purpose: Literal["arguments", "result"] = "arguments",
        vault: Vault | None = None,
    ) -> None:
        self.vault = vault  # that seals the file's values, for keys that are made of arguments
        self._purpose = purpose.encode()
        self._accept = frozenset(name if "/" in name else serializer(name).content_type for name in accept)
        self._keys = [checked_key(key) for key in keys]
        self._limit = limit
        self._setting = setting
        self._max_depth = max_depth

    # -- write -------------------------------------------------------------------------------------------------------

    def write(
        self, value: Any, form: str | None, compressed: str | None, *, what: str, owner: Owner | None = None
    ) -> bytes:
        """`value` by the serializer `form` (None: json), compressed where that names a method.

        `owner`: the message for whose arguments a pickle is signed; None for results. Raises NotSerializable,
        PayloadTooLarge (the limit is on what is not compressed yet), and ImproperlyConfigured for a name that nobody
        knows and for pickle without `pickle_key`.
        """
        form = form or "json"
        kind = serializer(form)
        if kind.content_type == JSON:
            data = codec.encode(value, what=what, limit=self._limit, setting=self._setting, max_depth=self._max_depth)
            if not compressed:
                return data
        else:
            if kind.content_type == PICKLE and not self._keys:
                raise ImproperlyConfigured(
                    f"{what}: pickle runs code when it is read, so it is written and read only under a signature: set "
                    f"`pickle_key` to a secret of at least {LEAST_KEY} characters, the same for all processes"
                )
            data = self._serialized(value, form, what)
        method = ""
        if compressed:
            method, data = compress(compressed, data)
        head = ENVELOPE + f"{kind.content_type};{method}".encode() + b"\0"
        if kind.content_type != PICKLE:
            return head + data
        return head + _mac(self._keys[0], self._place(owner) + head, data) + data

    def _place(self, owner: Owner | None) -> bytes:
        """The place that a signature is for, with a NUL behind each part: no name and no id has one."""
        return b"\0".join([self._purpose, *(part.encode() for part in owner or ())]) + b"\0"

    def _serialized(self, value: Any, form: str, what: str) -> bytes:
        encode = encoder_of(form, what)
        try:
            written = encode(value)
            data = written.encode() if isinstance(written, str) else bytes(written)
        except LiteqError:
            raise
        except Exception as exc:  # each serializer has errors of its own
            raise NotSerializable(f"{what}: the serializer {form!r} has no form for it: {exc}") from exc
        if len(data) > self._limit:
            raise PayloadTooLarge(what, len(data), self._limit, self._setting)
        check_depth(value, self._max_depth, what)
        return data

    def write_like(self, before: bytes, value: Any, *, what: str, owner: Owner | None = None) -> bytes:
        """`value` in the form that `before` has: a retry with other arguments stays what it was."""
        content_type, method = _head(before)
        return self.write(value, content_type, method or None, what=what, owner=owner)

    # -- read --------------------------------------------------------------------------------------------------------

    def read(self, data: bytes, owner: Owner | None = None) -> Any:
        """A stored value: plain JSON, or an envelope; raises as `open`."""
        return codec.decode(data, self if owner is None else _Owned(self, owner))

    def open(self, data: bytes, owner: Owner | None = None) -> Any:
        """The value in an envelope; a pickle of arguments is that of `owner`.

        Raises CodecError for what is still sealed (sealing.py); SecurityError for what is not accepted, not rightly
        signed or damaged; PayloadTooLarge, NotSerializable
        for what is larger or deeper than allowed; BadMessage for what its serializer cannot read.
        """
        content_type, method = _head(data)
        if content_type == SEALED:
            from liteq.serialization.sealing import unopened

            raise unopened(data)
        head, body = data[: data.index(b"\0") + 1], data[data.index(b"\0") + 1 :]
        if content_type != JSON and content_type not in self._accept:
            raise self._refused(content_type)
        what = f"a stored value of type {content_type}"
        if content_type == PICKLE:
            body = self._verified(self._place(owner) + head, body)
        if method:
            body = decompress(method, body, self._limit, what=what, setting=self._setting)
        elif len(body) > self._limit:
            raise PayloadTooLarge(what, len(body), self._limit, self._setting)
        if content_type == JSON:
            return codec.decode(body, self)
        value = _loaded(content_type, body, what)
        check_depth(value, self._max_depth, what)
        return value

    def _verified(self, head: bytes, body: bytes) -> bytes:
        if not self._keys:
            raise SecurityError("a pickle is read only under a signature: set `pickle_key` to the secret of its sender")
        mac, data = body[:MAC_SIZE], body[MAC_SIZE:]
        from hmac import compare_digest

        if not any([compare_digest(mac, _mac(key, head, data)) for key in self._keys]):  # noqa: C419 - no shortcut
            raise SecurityError(
                "the signature of a pickle is wrong: it was changed, copied from another message, or written under "
                "another `pickle_key`; not read"
            )
        return data

    @staticmethod
    def _refused(content_type: str) -> SecurityError:
        kind = serializer_of_type(content_type)
        name = kind.name if kind is not None else content_type[:80]
        return SecurityError(f"content of type {name!r} is not accepted here: add it to `accept_content` to read it")


class _Owned:
    """Opens the envelopes of one message."""

    __slots__ = ("_content", "_owner")

    def __init__(self, content: Content, owner: Owner) -> None:
        self._content = content
        self._owner = owner

    def open(self, data: bytes) -> Any:
        return self._content.open(data, self._owner)


def checked_key(key: str) -> bytes:
    """A part of `pickle_key` as bytes. Raises ImproperlyConfigured for one that could be guessed."""
    if len(key) < LEAST_KEY:
        raise ImproperlyConfigured(
            f"pickle_key: {len(key)} characters are too few, take at least {LEAST_KEY}: "
            '`python -c "import secrets; print(secrets.token_hex(32))"` makes a good one'
        )
    return key.encode()


def _mac(key: bytes, head: bytes, data: bytes) -> bytes:
    from hmac import digest  # with hashlib, 3 ms of every process's start

    return digest(key, head + data, "sha256")


def _head(data: bytes) -> tuple[str, str]:
    """(content type, compression) of a stored value."""
    if data[:1] != ENVELOPE:
        return JSON, ""
    head, found, _ = data[1:200].partition(b"\0")
    content_type, semicolon, method = head.decode("ascii", "replace").partition(";")
    if not found or not semicolon:
        raise BadMessage(f"a stored value of {len(data)} bytes cannot be read: its head is damaged")
    return content_type, method


def kind_of(data: bytes) -> str | None:
    """The content of an envelope in words, for people who look at a queue: it is not opened. None for plain JSON."""
    if data[:1] != ENVELOPE:
        return None
    try:
        content_type, method = _head(data)
    except BadMessage:
        return f"<{len(data):,} damaged bytes>"
    if content_type == SEALED:
        return f"<{len(data):,} bytes sealed under the key {method or '(without an id)'}, which is not here>"
    return f"<{len(data):,} bytes of {content_type}{', ' + method if method else ''}>"


def options_of(data: bytes | None) -> dict[str, Any]:
    """The options of a message, for those who show it: {} where it has none, or they are sealed and stay so here."""
    if not data or data[:1] == ENVELOPE:
        return {}
    found: dict[str, Any] = orjson.loads(data)
    return found


def _loaded(content_type: str, body: bytes, what: str) -> Any:
    kind = serializer_of_type(content_type)
    if kind is None or kind.decode is None:
        raise BadMessage(f"{what}: no serializer for it is registered here (`liteq.serialization.register`)")
    try:
        return kind.decode(body.decode() if kind.is_text else body)
    except LiteqError:
        raise
    except Exception as exc:  # each serializer has errors of its own
        raise BadMessage(f"{what} cannot be read: {exc}") from exc


def check_depth(value: Any, max_depth: int, what: str) -> None:
    """Raises NotSerializable when containers are nested more than `max_depth` deep in `value`."""
    level = [value]
    for _ in range(max_depth + 1):
        inner: dict[int, Any] = {}  # by identity: what a pickle shares is looked at once
        for one in level:
            if isinstance(one, (dict, list, tuple)):
                inner.update((id(item), item) for item in (one.values() if isinstance(one, dict) else one))
        if not inner:
            return
        level = list(inner.values())
    raise NotSerializable(f"{what} is nested more than {max_depth} levels deep (`max_nesting`)")


def as_json(data: bytes) -> bytes:
    """A stored value as JSON, to be a part of a larger one: an envelope becomes a tag, which a reader opens."""
    if data[:1] != ENVELOPE:
        return data
    return orjson.dumps({TYPE: ENCLOSED, VALUE: base64.b64encode(data).decode()})
