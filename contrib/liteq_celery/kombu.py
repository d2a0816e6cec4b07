"""kombu's names: its JSON, its exceptions, and a connection to a file."""

from __future__ import annotations

import json
from typing import Any

import orjson

from liteq.app import LiteQ
from liteq.app.compat import connection
from liteq.exceptions import LiteqError
from liteq.serialization import decode, encode

__all__ = [
    "ChannelError",
    "ChannelLimitExceeded",
    "Connection",
    "ConnectionLimitExceeded",
    "InconsistencyError",
    "JSONEncoder",
    "LimitExceeded",
    "MessageStateError",
    "NotBoundError",
    "ResourceError",
    "dumps",
    "loads",
]


class JSONEncoder(json.JSONEncoder):
    """Writes dates, decimals, UUIDs, bytes and registered types as messages have them; for subclasses, too."""

    def default(self, o: Any) -> Any:
        """The form of a value that the json module does not know. Raises NotSerializable, which is a TypeError."""
        return orjson.loads(encode(o, what="value"))


def dumps(value: Any, cls: type[json.JSONEncoder] | None = None, **options: Any) -> str:
    """`value` as JSON, as messages have it; `cls` and `options` are those of `json.dumps`. Raises NotSerializable."""
    if cls is None and not options:
        return encode(value, what="value").decode()
    return json.dumps(value, cls=cls or JSONEncoder, **options)


def loads(text: str | bytes, **_options: Any) -> Any:
    """Read the text that `dumps` wrote. Raises BadMessage."""
    return decode(text.encode() if isinstance(text, str) else bytes(text))


class Connection(connection.Connection):
    """`Connection("sqlite:///tasks.db")`: the queue in that file. Raises ImproperlyConfigured for a broker's URL."""

    def __init__(self, hostname: str | None = None, *, connect_timeout: float | None = None, **_options: Any) -> None:
        app = LiteQ("kombu", broker=hostname, set_as_current=False)
        super().__init__(app, app.broker_url, connect_timeout=connect_timeout)


class LimitExceeded(LiteqError):
    """A pool of connections has no more. Nothing of liteq's raises it: programs catch it."""


class ConnectionLimitExceeded(LimitExceeded):
    """As its base: programs catch it."""


class ChannelLimitExceeded(LimitExceeded):
    """As its base: programs catch it."""


class ChannelError(LiteqError):
    """A broker has closed a channel. Nothing of liteq's raises it, nor the following: programs catch them."""


class ResourceError(ChannelError):
    """A queue of a broker's is not there, or is not as it was declared."""


class InconsistencyError(LiteqError):
    """A broker's data are not as expected."""


class NotBoundError(LiteqError):
    """An entity that needs a channel has none."""


class MessageStateError(LiteqError):
    """A message was acknowledged twice."""
