"""Exceptions of steps and runs as documents, and back: class where it is loaded, arguments, plain attributes."""

from __future__ import annotations

import traceback
from typing import Any

import orjson

from liteq.serialization import encode, encode_error
from liteq.serialization.failures import exception_from

__all__ = ["document_of", "raised_of"]

ATTRIBUTES = "attributes"
LONGEST = 64 * 1024  # bytes of the attributes of one exception; longer ones are left out


def document_of(exc: BaseException, limit: int, *, traced: bool = True) -> bytes:
    """`exc` as JSON. Never raises. `limit`: bytes of its traceback. With the attributes that have a JSON form."""
    text = "".join(traceback.format_exception(type(exc), exc, _own_frames(exc))) if traced else ""
    data = encode_error(exc, text, max_traceback_bytes=limit)
    kept = {}
    for name, value in getattr(exc, "__dict__", {}).items():
        if name.startswith("__"):
            continue
        try:
            kept[name] = orjson.loads(encode(value, what="an attribute", limit=LONGEST))
        except Exception:  # noqa: BLE001, S112 - it has no JSON form, or is too long
            continue
    return orjson.dumps({**orjson.loads(data), ATTRIBUTES: kept}) if kept else data


def _own_frames(exc: BaseException) -> Any:
    """The traceback without the frames of this room at its top: a reader wants to see the step."""
    tb = exc.__traceback__
    while (
        tb is not None and tb.tb_next is not None and tb.tb_frame.f_globals.get("__name__", "").startswith(__package__)
    ):
        tb = tb.tb_next
    return tb


def raised_of(data: bytes) -> Exception:
    """The exception of a document, as the body gets it, on its first run too."""
    return exception_from(data)[0]
