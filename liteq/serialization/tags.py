"""The tags beyond JSON, in kombu's shapes, both ways; and the types that an app adds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

from liteq.serialization.secret import MARKER, Secret

__all__ = [
    "CONTAINER",
    "SEAL",
    "SEALED",
    "TYPE",
    "VALUE",
    "WRITTEN",
    "register_type",
    "registered",
    "tag",
    "untag",
    "untag_plain",
    "verdict",
]

T = TypeVar("T")

TYPE, VALUE = "__type__", "__value__"
ENVELOPE = b"\x01"  # what is not plain JSON begins with it (content.py)
SEALED = "sealed"  # the content type of what a payload codec has encoded (sealing.py)
SEAL = ENVELOPE + f"{SEALED};".encode()  # such a value begins with it, then comes the id of the key
ENCLOSED = "liteq.content"  # the tag of an envelope inside of JSON
CONTAINER, WRITTEN, OTHER = "container", "written", "other"

# Types that an app added with `register_type`: the class, its marker, and how to make JSON of it.
registered: dict[type, tuple[str, Callable[[Any], Any]]] = {}


@lru_cache(maxsize=1024)
def verdict(kind: Any) -> str:
    """How orjson together with `tag` writes an instance of the class `kind`, which is none of the plain JSON types.

    OTHER: orjson would change it (UUID to str, an enum member to its value), or refuse it.
    """
    if issubclass(kind, (Enum, UUID, float)) or issubclass(kind, tuple(registered)):
        return OTHER
    if issubclass(kind, (dict, list, tuple)):
        return CONTAINER
    if issubclass(kind, (str, int, date, time, Decimal, bytes, Secret)):  # a datetime is a date
        return WRITTEN
    return OTHER


def tag(value: Any) -> Any:
    """The hook of orjson: the form of a value that it does not know itself. TypeError sends `encode` the slow way."""
    for kind, marker, to_json in _TAGGED:
        if isinstance(value, kind):
            return {TYPE: marker, VALUE: to_json(value)}
    if isinstance(value, bytes):
        return _tag_bytes(value)
    if isinstance(value, tuple):  # a named tuple
        return list(value)
    raise TypeError


def _tag_bytes(value: bytes) -> dict[str, Any]:
    try:
        return {TYPE: "bytes", VALUE: value.decode()}
    except UnicodeDecodeError:
        return {TYPE: "base64", VALUE: base64.b64encode(value).decode()}


_TAGGED: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", lambda v: v.isoformat()),  # before date, whose subclass it is
    (date, "date", lambda v: v.isoformat()),
    (time, "time", lambda v: v.isoformat()),
    (Decimal, "decimal", str),
    (UUID, "uuid", lambda v: {"hex": v.hex}),
    (Secret, MARKER, lambda v: v.name),
)


def untag(value: Any, opener: Any = None) -> Any:
    """`value`, as orjson read it, with its tags turned into what they stand for; `opener` opens envelopes."""
    if isinstance(value, list):
        return [untag(v, opener) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 2 or TYPE not in value or VALUE not in value:
        return {k: untag(v, opener) for k, v in value.items()}
    return _untag_one(value[TYPE], value[VALUE], opener)


def untag_plain(value: Any) -> Any:
    """As `untag`, but for what runs code of the program: a value of a class that it has registered stays data."""
    if isinstance(value, list):
        return [untag_plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TYPE, VALUE} and isinstance(value[TYPE], str):
        if value[TYPE] in BUILT_IN_MARKERS:
            return _untag_one(value[TYPE], value[VALUE], None)
        return untag_plain(value[VALUE])
    return {k: untag_plain(v) for k, v in value.items()}


def _untag_one(marker: Any, inner: Any, opener: Any) -> Any:
    if marker == "dict" and isinstance(inner, dict):
        return {k: untag(v, opener) for k, v in inner.items()}
    if marker == ENCLOSED and opener is not None and isinstance(inner, str):
        return opener.open(base64.b64decode(inner))
    if isinstance(marker, str) and (decoder := _decoders.get(marker)) is not None:
        try:
            return decoder(untag(inner, opener))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            pass
    return {TYPE: marker, VALUE: untag(inner, opener)}


_decoders: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda v: UUID(hex=v["hex"]),
    "bytes": lambda v: v.encode(),
    "base64": lambda v: base64.b64decode(v, validate=True),
    "int": lambda v: int(v, 16),
    "float": float,
}
_decoders[MARKER] = Secret
BUILT_IN_MARKERS = frozenset(_decoders) | {"dict", ENCLOSED}


def register_type(kind: type[T], marker: str, encoder: Callable[[T], Any], decoder: Callable[[Any], T]) -> None:
    """Let values of `kind` pass as arguments and results, under the tag `marker`, in this process.

    `encoder` makes something JSON has a form for, `decoder` takes it back. Both the producer's and the worker's
    process must call this: do it beside the app. A value that `decoder` refuses (ValueError, TypeError, KeyError) comes
    back as the tag's dict. Raises ValueError for a marker that liteq uses itself.
    """
    if marker in BUILT_IN_MARKERS:
        raise ValueError(f"the marker {marker!r} is taken by liteq itself")
    registered[kind] = (marker, encoder)
    _decoders[marker] = decoder
    verdict.cache_clear()
