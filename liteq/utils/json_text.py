"""JSON of and for other programs: whatever a message holds can be written, and every digit is read."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

__all__ = ["from_json", "to_json"]

LONG = re.compile(rb"[0-9]{19}")
NUMBER_BITS = 63  # of the numbers that orjson writes
DIGITS_BITS = 10_000  # Python refuses to write much longer ones as digits: that takes long


def from_json(data: bytes) -> Any:
    """The document that JSON holds. Raises ValueError for what is no JSON, or is nested too deeply.

    orjson makes a float of a whole number beyond 64 bits, which is another number: such a document is read once more.
    """
    found = orjson.loads(data)
    if LONG.search(data) is None:
        return found
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("long numbers, and nested too deeply to be read with all their digits") from None


def to_json(document: Any, *, indent: bool = False) -> bytes:
    """`document` as JSON. What JSON has no form for is written as text, and so is a number of more than 64 bits."""
    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(document, default=str, option=option)
    except TypeError:  # seldom: nothing is looked at twice for it
        return orjson.dumps(_plain(document), default=str, option=option)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:
        return (
            str(value) if value.bit_length() < DIGITS_BITS else hex(value)
        )  # Python refuses to write longer ones as digits
    return value
