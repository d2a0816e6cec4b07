"""The word `liteq:` among kombu's transports, known without an import of the program's.

kombu has a dict of transports and no entry points for them. It has entry points for serializers, which every process
with Celery loads before it connects: this module is one, and puts the transport into the dict on the way. It imports
nothing of liteq, as programs load it that have no queue of liteq's.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES

__all__ = ["SERIALIZER"]

TRANSPORT_ALIASES.setdefault("liteq", "liteq_kombu.transport:Transport")


def dumps(value: Any) -> str:
    """`value` as liteq's JSON: with tags for dates, decimals, UUIDs, bytes and integers of any size."""
    from liteq.serialization import encode

    return encode(value, what="a message").decode()


def loads(data: str | bytes) -> Any:
    """The value that `dumps` was given."""
    from liteq.serialization import decode

    return decode(data.encode() if isinstance(data, str) else bytes(data))


# kombu registers this under the entry point's name: encoder, decoder, content type, content encoding.
SERIALIZER = (dumps, loads, "application/x-liteq-json", "utf-8")
