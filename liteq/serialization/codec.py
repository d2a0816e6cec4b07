"""JSON by orjson, with tags for the types beyond JSON that Celery's users pass: arguments and results both ways.

The tags are kombu's: `{"__type__": "datetime", "__value__": "2024-01-02T03:04:05"}`. datetime, date, time, Decimal,
UUID and bytes come back as themselves, and so do integers of any size, NaN and the infinities (JSON has no form for
these, so they have a tag of their own: "float"); tuples come back as lists; keys are strings. Everything else is
refused where it is handed in, with the path to it, because a value that comes back as something else is worse than an
error: sets, enum members, dataclasses, surrogates.

Two ways through `encode`. The fast one is a single call of orjson plus a glance at the types, which finds what orjson
would change without a word (NaN to null, UUID to str, an enum member to its value). Whatever the glance does not
like takes the slow one: `walk.py` rebuilds the value in plain JSON types and knows where it is.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Protocol

import orjson

from liteq.exceptions import BadMessage, NotSerializable, PayloadTooLarge
from liteq.serialization.tags import CONTAINER, ENCLOSED, ENVELOPE, SEAL, TYPE, WRITTEN, tag, untag, verdict
from liteq.serialization.walk import Walk

__all__ = ["ENCLOSED", "ENVELOPE", "MAX_NESTING", "Opener", "decode", "encode"]

MAX_NESTING = 100  # orjson itself stops at 254 levels

_MARKER = b'"__type__"'
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_SCALARS = frozenset({int, str, bool, type(None)})
_ALL_SCALARS = _SCALARS.issuperset
_LONG = 16  # from here on asking in C for all at once is quicker than one by one
_CONTAINERS = frozenset({dict, list, tuple})


def encode(
    value: Any,
    *,
    what: str,
    limit: int | None = None,
    setting: str = "max_payload_bytes",
    max_depth: int = MAX_NESTING,
) -> bytes:
    """`value` as JSON.

    `what` names it in errors ("the arguments of task 'app.add'"); `limit` is in bytes, `setting` the one that raises
    it; `max_depth` counts containers, the outermost as one. Raises NotSerializable with the path to the value that
    has no form (`kwargs["user"]`), PayloadTooLarge.
    """
    try:
        data = orjson.dumps(value, tag, _OPTIONS)
        plain = _is_plain(value, max_depth) if type(value) in _CONTAINERS else _is_plain((value,), max_depth + 1)
    except TypeError:
        data, plain = b"", False
    if not plain:
        data = _encode_slowly(value, what, setting, max_depth)
    if limit is not None and len(data) > limit:
        raise PayloadTooLarge(what, len(data), limit, setting)
    return data


def _is_plain(container: Any, room: int) -> bool:
    """True when orjson wrote every value in `container` as it was, in at most `room` levels of containers.

    Only called after orjson has been through, so there is no cycle.
    """
    values: Any = container
    if isinstance(container, dict):
        if TYPE in container:  # would be taken for a tag
            return False
        values = container.values()
    if len(values) > _LONG and _ALL_SCALARS(map(type, values)):
        return True
    for value in values:
        kind: Any = type(value)
        if kind in _SCALARS:
            continue
        if kind is float:
            if not isfinite(value):
                return False
        elif kind in _CONTAINERS or verdict(kind) is CONTAINER:
            if room <= 1 or not _is_plain(value, room - 1):
                return False
        elif verdict(kind) is not WRITTEN:
            return False
    return True


def _encode_slowly(value: Any, what: str, setting: str, max_depth: int) -> bytes:
    walk = Walk(what, max_depth)
    if setting == "max_payload_bytes" and type(value) is list and len(value) == 2:  # [args, kwargs]: so name them
        value = [walk.simplify(value[0], "args", 1), walk.simplify(value[1], "kwargs", 1)]
    else:
        value = walk.simplify(value, "value", 0)
    try:
        return orjson.dumps(value)
    except TypeError as exc:  # 254 levels of tags in tags, by `register_type`
        raise NotSerializable(f"{what}: {exc}") from None


class Opener(Protocol):
    """Opens what is not plain JSON: `content.Content`, by the rules of an app."""

    def open(self, data: bytes, /) -> Any:
        """The value in an envelope."""


def decode(data: bytes, opener: Opener | None = None) -> Any:
    """The value that `encode` was given. Raises BadMessage when `data` is not JSON, nor an envelope for `opener`.

    A tag that this process does not know, or whose value does not parse, stays the dict it is: what a stranger put
    into an argument must not be able to stop the worker that reads it.
    """
    try:
        value = orjson.loads(data)
        return untag(value, opener) if _MARKER in data else value
    except (orjson.JSONDecodeError, RecursionError) as exc:
        if opener is not None and data[:1] == ENVELOPE:  # looked at here only: plain JSON pays nothing for it
            return opener.open(data)
        if data.startswith(SEAL):
            from liteq.serialization.sealing import unopened

            raise unopened(data) from None
        raise BadMessage(f"a stored value of {len(data)} bytes cannot be read as JSON: {exc}") from None
