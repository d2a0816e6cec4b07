"""The callbacks, errbacks and the rest of a chain that a message of Celery's brings: `celery.embed` of its options.

Each link of Celery's chains brings all that are behind it, some 200 bytes a link. SQLite writes a row anew, whole, with
each change of its state, so a long rest would be written three times and read twice. It is deflated, to a sixth.
"""

from __future__ import annotations

import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["deflated", "is_deflated", "packed", "unpacked", "with_long_rest"]

DEFLATED: Final = "zlib"
LONG: Final = 2_048  # bytes of JSON: shorter ones stand in the row's own page
MOST: Final = 64 << 20  # bytes that a deflated text may become
# How Celery writes a body, and what it embeds of a task that is in no chord.
BEGINS: Final = "[["
COMMA: Final = ", "
EMBEDS: Final = COMMA + '{"callbacks": '
ENDS: Final = ', "chord": null}]'
DECODER: Final = json.JSONDecoder()

LEVELS: Final = 16  # containers in each other that a look takes off, one a turn or more
DIGITS: Final = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
BIG: Final = b"0" * 19  # an integer of so many digits may be beyond 64 bits
NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def with_long_rest(body: str) -> tuple[Any, Any, bytes] | None:
    """The arguments in a body of Celery's, and what it embeds as text where that is long and stays as it is.

    None: parse it all. To parse the rest of a chain, and to write it anew, would cost each link more than its arguments
    do. Raises ValueError for arguments that are no JSON.
    """
    if len(body) < LONG or not body.endswith(ENDS) or not body.startswith(BEGINS):
        return None
    args, end = DECODER.raw_decode(body, 1)
    if not body.startswith(COMMA, end):
        return None
    kwargs, end = DECODER.raw_decode(body, end + len(COMMA))
    if len(body) - end < LONG or not body.startswith(EMBEDS, end):
        return None
    text = body[end + len(COMMA) : -1].encode()
    return (args, kwargs, text) if _as_it_stands(text) else None


def _as_it_stands(text: bytes) -> bool:
    """Whether orjson reads all of `text`, JSON, and can write it again: no long integer, no lone surrogate, not deep.

    A quick look, in bytes: it may say no of other texts too.
    """
    if (b"\\" in text and b"\\u" in text) or BIG in text.translate(DIGITS):
        return False
    brackets = text.translate(None, NO_BRACKETS)
    for _ in range(LEVELS):
        if not brackets:
            return True
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return False


def packed(embed: Mapping[str, Any]) -> Mapping[str, Any]:
    """`embed`, a JSON object, as it is stored: deflated where it is long."""
    text = orjson.dumps(embed)
    return embed if len(text) < LONG else deflated(text)


def deflated(text: bytes) -> Mapping[str, Any]:
    """The form in which the JSON text of an object is stored, whatever its length."""
    # A window of 8 kB, as each link resembles the one before it: with zlib's own the memory costs more than the work.
    deflater = zlib.compressobj(1, zlib.DEFLATED, 13, 5)
    return {DEFLATED: binascii.b2a_base64(deflater.compress(text) + deflater.flush(), newline=False).decode()}


def is_deflated(embed: Mapping[str, Any]) -> bool:
    """Whether `embed` is as `packed` makes a long one."""
    return DEFLATED in embed


def unpacked(embed: Mapping[str, Any]) -> bytes:
    """The JSON text of a deflated `embed`. Raises ValueError where it is none: any program may have written it."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(binascii.a2b_base64(embed[DEFLATED], strict_mode=True), MOST)
    except (ValueError, TypeError, zlib.error) as exc:
        raise ValueError(f"the links in a message of Celery's cannot be read: {exc}") from exc
    if not inflater.eof or not text.startswith(b"{"):
        raise ValueError("the links in a message of Celery's are cut off, too long, or no JSON object")
    return text
