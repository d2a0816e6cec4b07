"""Links of the dashboard: all from its base path, names of queues and tasks as one segment whatever is in them."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from liteq.utils.names import segment

__all__ = ["link"]


def link(base: str, path: str, *names: object, **query: object) -> str:
    """A link below `base`: `path`, then each of `names` as one segment; what is None in `query` is left out.

    A list in `query` is a parameter that comes several times.
    """
    parts = [part for part in (path, *map(segment, names)) if part]
    asked = {name: value for name, value in query.items() if value is not None}
    tail = f"?{urlencode(asked, doseq=True, errors='replace')}" if asked else ""
    return f"{base}/{quote('/'.join(parts), safe='/~', errors='replace')}{tail}"
