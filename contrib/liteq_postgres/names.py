"""Names of a queue on the server, made of its schema's: several queues of one database do not hear each other."""

from __future__ import annotations

from hashlib import blake2b

from liteq.storage.driver import Bell

__all__ = ["advisory_key", "channel", "quoted"]


def quoted(name: str) -> str:
    """`name` as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def advisory_key(schema: str, name: str) -> int:
    """The number of the advisory lock `name` of a queue: 64 bits, by a hash."""
    return int.from_bytes(blake2b(f"liteq:{schema}:{name}".encode(), digest_size=8).digest(), signed=True)


def channel(schema: str, bell: Bell) -> str:
    """The channel on which a bell of the queue is heard."""
    return f"liteq_{bell.value}_{blake2b(schema.encode(), digest_size=8).hexdigest()}"
