"""JSON for people and pages: whatever a message holds can be written."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["to_json"]

NUMBER_BITS = 63  # of the numbers that orjson writes
DIGITS_BITS = 10_000  # Python refuses to write much longer ones as digits: that takes long


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
            str(value) if value.bit_length() < 10_000 else hex(value)
        )  # Python refuses to write longer ones as digits
    return value
