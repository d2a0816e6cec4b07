"""The callbacks, errbacks and the rest of a chain that a message of Celery's brings: `celery.embed` of its options.

Each link of Celery's chains brings all that are behind it, some 200 bytes a link. SQLite writes a row anew, whole, with
each change of its state, so a long rest would be written three times and read twice. It is deflated, to a sixth.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

__all__ = ["is_deflated", "packed", "unpacked"]

DEFLATED: Final = "zlib"
LONG: Final = 2_048  # bytes of JSON: shorter ones stand in the row's own page
MOST: Final = 64 << 20  # bytes that a deflated text may become


def packed(embed: Mapping[str, Any]) -> Mapping[str, Any]:
    """`embed`, a JSON object, as it is stored: deflated where it is long."""
    text = orjson.dumps(embed)
    if len(text) < LONG:
        return embed
    # A window of 4 kB, as each link resembles the one before it: with zlib's own the memory costs more than the work.
    deflater = zlib.compressobj(1, zlib.DEFLATED, 12, 4)
    deflated = deflater.compress(text) + deflater.flush()
    return {DEFLATED: binascii.b2a_base64(deflated, newline=False).decode()}


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
