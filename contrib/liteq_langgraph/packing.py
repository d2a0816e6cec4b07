"""Values as they are stored: a list by its elements, of which only those are serialized that were not there before."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import threading
import uuid
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from liteq.exceptions import NotSerializable
from liteq.storage.graphs.records import BLOB, EMPTY, LIST, Blob, Value, hashes_of

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

__all__ = ["Before", "Known", "Packed", "empty", "pack", "pack_value", "seen", "unpack"]

INLINE = 200  # bytes of a value that stand in its row
FEW = 8  # elements of a list of plain values that is one value
LISTS = 256  # channels whose last list is remembered
DEEP = 20

ATOMS = frozenset(
    {
        str, int, float, bool, bytes, complex, type(None), decimal.Decimal, uuid.UUID, dt.datetime, dt.date, dt.time,
        dt.timedelta,
    }
)  # fmt: skip


SAID_AS_EQUAL = frozenset({float, complex, decimal.Decimal, dt.datetime, dt.time})  # -0.0, 1.00, another zone
HEAP = 1 << 9  # the flag of a class that was made by a class statement


class Before(NamedTuple):
    """The list that a channel had at a version. `prints`: what its elements held, None: that cannot be told."""

    version: str
    elements: Sequence[Any]
    hashes: Sequence[str]
    prints: Sequence[Sequence[Any] | None]


class Packed(NamedTuple):
    """A value as it is stored. `before`: of a list, to be remembered."""

    value: Value
    blobs: Mapping[str, Blob]
    before: Before | None = None


# -- whether an element is as it was ---------------------------------------------------------------------------------


def print_of(element: Any) -> list[Any] | None:
    """The leaves of an element, so that a change inside of it is seen; None for what cannot be looked into."""
    leaves: list[Any] = []
    return leaves if _walk(element, leaves, 0) else None


def _walk(value: Any, leaves: list[Any], depth: int) -> bool:
    kind: Any = type(value)
    leaves.append(kind)
    if kind in ATOMS or isinstance(value, enum.Enum):
        leaves.append(value)
        return True
    if depth > DEEP:
        return False
    if kind is dict:
        leaves.append(len(value))
        leaves.extend(value)
        return all(_walk(one, leaves, depth + 1) for one in value.values())
    if kind is list or kind is tuple:
        leaves.append(len(value))
        return all(_walk(one, leaves, depth + 1) for one in value)
    inside = getattr(value, "__dict__", None)
    if inside is None or _holds_more(kind) or (hasattr(kind, "__slots__") and not hasattr(kind, "model_fields")):
        return False
    return _walk(inside, leaves, depth + 1) and _walk(getattr(value, "__pydantic_extra__", None), leaves, depth + 1)


@lru_cache(maxsize=1024)
def _holds_more(kind: type) -> bool:
    """Whether objects of a class have content that is no attribute: of a subclass of dict, str and the like."""
    return any(not base.__flags__ & HEAP for base in kind.__mro__[:-1])


def same(print_: Sequence[Any] | None, other: Sequence[Any] | None) -> bool:
    """Whether two prints are of the same content."""
    if print_ is None or other is None or len(print_) != len(other):
        return False
    return all(a is b or (type(a) is type(b) and _is_same(a, b)) for a, b in zip(print_, other, strict=True))


def _is_same(one: Any, other: Any) -> bool:
    """Whether two leaves of one type are the same."""
    kind = type(one)
    return kind in ATOMS and one == other and (kind not in SAID_AS_EQUAL or repr(one) == repr(other))


class Known:
    """The last list of each channel that this process has read or written: the newest LISTS of them."""

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[str, str, str], Before] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, thread: str, ns: str, channel: str) -> Before | None:
        """The last list of a channel."""
        with self._lock:
            return self._lists.get((thread, ns, channel))

    def keep(self, thread: str, ns: str, channel: str, before: Before) -> None:
        """Remember a channel's list."""
        with self._lock:
            self._lists[thread, ns, channel] = before
            self._lists.move_to_end((thread, ns, channel))
            if len(self._lists) > LISTS:
                self._lists.popitem(last=False)

    def forget(self, thread: str) -> None:
        """Forget the lists of a thread."""
        with self._lock:
            for key in [key for key in self._lists if key[0] == thread]:
                del self._lists[key]


# -- packing ---------------------------------------------------------------------------------------------------------


def _hashed(form: str, data: bytes) -> str:
    digest = blake2b(form.encode() + b"\0" + data, digest_size=16).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _dumped(serde: SerializerProtocol, what: str, value: Any) -> tuple[str, bytes]:
    try:
        return serde.dumps_typed(value)
    except NotSerializable as exc:
        raise type(exc)(f"{what}: {exc}") from exc
    except Exception as exc:
        raise NotSerializable(f"{what}: {type(value).__qualname__} cannot be stored: {exc}") from exc


def _is_by_elements(value: Any) -> bool:
    return type(value) is list and (len(value) > FEW or any(type(one) not in ATOMS for one in value))


def pack_value(serde: SerializerProtocol, what: str, value: Any) -> tuple[str, bytes, dict[str, Blob]]:
    """The form, the data and the blobs of a value. Raises NotSerializable, which says `what` it is."""
    if _is_by_elements(value):
        dumped = [_dumped(serde, what, one) for one in value]
        hashes = [_hashed(*one) for one in dumped]
        return LIST, "".join(hashes).encode(), dict(zip(hashes, (Blob(*one) for one in dumped), strict=True))
    form, data = _dumped(serde, what, value)
    if len(data) <= INLINE:
        return form, data, {}
    hash_ = _hashed(form, data)
    return BLOB, hash_.encode(), {hash_: Blob(form, data)}


def pack(serde: SerializerProtocol, channel: str, version: str, value: Any, before: Before | None) -> Packed:
    """The value of a channel at a version; a list over the one `before`. Raises NotSerializable."""
    what = f"the channel {channel!r}"
    if not _is_by_elements(value):
        form, data, blobs = pack_value(serde, what, value)
        return Packed(Value(channel, version, form, data), blobs)
    blobs = {}
    hashes: list[str] = []
    prints = [print_of(element) for element in value]
    places = {} if before is None else {id(one): at for at, one in enumerate(before.elements)}
    for at, (element, print_) in enumerate(zip(value, prints, strict=True)):
        hash_ = _hash_of_before(before, print_, at, places.get(id(element)))
        if hash_ is None:
            form, data = _dumped(serde, what, element)
            hash_ = _hashed(form, data)
            blobs[hash_] = Blob(form, data)
        hashes.append(hash_)
    keep = 0
    if before is not None:
        for mine, theirs in zip(hashes, before.hashes, strict=False):
            if mine != theirs:
                break
            keep += 1
    own = "".join(hashes[keep:]).encode()
    base = before.version if before is not None and keep else None
    return Packed(Value(channel, version, LIST, own, base, keep), blobs, Before(version, list(value), hashes, prints))


def _hash_of_before(before: Before | None, print_: Sequence[Any] | None, *places: int | None) -> str | None:
    """The hash of an element that stood at one of `places` before; None where it did not, or held something else."""
    if before is not None:
        for at in places:
            if at is not None and at < len(before.prints) and same(print_, before.prints[at]):
                return before.hashes[at]
    return None


def empty(channel: str, version: str) -> Packed:
    """A channel that has no value at a version."""
    return Packed(Value(channel, version, EMPTY, b""), {})


def unpack(serde: SerializerProtocol, form: str, data: bytes, blobs: Mapping[str, Blob]) -> Any:
    """The value of a form, data and blobs."""
    if form == LIST:
        return [serde.loads_typed((blobs[hash_].form, blobs[hash_].data)) for hash_ in hashes_of(form, data)]
    if form == BLOB:
        blob = blobs[data.decode()]
        return serde.loads_typed((blob.form, blob.data))
    return serde.loads_typed((form, data))


def seen(version: str, elements: Sequence[Any], data: bytes) -> Before:
    """The list of a channel that was read, to be remembered."""
    return Before(version, list(elements), hashes_of(LIST, data), [print_of(one) for one in elements])
