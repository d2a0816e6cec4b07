"""The attributes of a message, and the sum over them by which SDKs see that they came whole.

The SDK for Java compares that sum after each send and each receive, and raises where there is none.
Source: "Calculating the MD5 message digest for message attributes", Amazon SQS Developer Guide.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

__all__ = ["Attributes", "md5_of", "readable"]

Attributes = Mapping[str, Mapping[str, Any]]


def readable(found: object) -> Attributes:
    """Those of `found`, an object out of JSON, that are attributes; {} where it is none."""
    attributes = found.items() if isinstance(found, dict) else ()
    return {name: one for name, one in attributes if isinstance(one, dict) and _value(one) is not None}


def md5_of(attributes: Attributes) -> dict[str, str]:
    """The sum over `attributes`, which `readable` has found, as an answer has it; {} where there are none."""
    if not attributes:
        return {}
    whole = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        one = attributes[name]
        kind, value = _value(one) or (b"", b"")
        whole.update(_sized(name.encode()) + _sized(str(one.get("DataType") or "String").encode()))
        whole.update(kind + _sized(value))
    return {"MD5OfMessageAttributes": whole.hexdigest()}


def _value(one: Mapping[str, Any]) -> tuple[bytes, bytes] | None:
    """The number of an attribute's kind, and its value; None where it has none."""
    text, data = one.get("StringValue"), one.get("BinaryValue")
    try:
        if isinstance(text, str):
            return b"\1", text.encode()
        return (b"\2", base64.b64decode(data, validate=True)) if isinstance(data, str) else None
    except (binascii.Error, ValueError):
        return None


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
