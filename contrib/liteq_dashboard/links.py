"""Links of the dashboard: all from its base path, names of queues and tasks as one segment whatever is in them."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

__all__ = ["link", "segment", "unescaped"]

SPECIAL = re.compile(r"[~/\\\x00-\x1f\x7f]|^\.{1,2}$")
ESCAPED = re.compile(r"~([0-9A-F]{2})")


def segment(name: object) -> str:
    """`name` as one segment of a path, before it is percent-quoted.

    A host takes `%2F` for a slash before it routes, and a browser takes dots alone for a folder, so these are written
    as `~2F` and `~2E`.
    """
    return SPECIAL.sub(lambda found: "".join(f"~{ord(c):02X}" for c in found[0]), str(name)) or "~"


def unescaped(text: str) -> str:
    """The name that `segment` wrote as `text`."""
    return "" if text == "~" else ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def link(base: str, path: str, *names: object, **query: object) -> str:
    """A link below `base`: `path`, then each of `names` as one segment; what is None in `query` is left out.

    A list in `query` is a parameter that comes several times.
    """
    parts = [part for part in (path, *map(segment, names)) if part]
    asked = {name: value for name, value in query.items() if value is not None}
    tail = f"?{urlencode(asked, doseq=True, errors='replace')}" if asked else ""
    return f"{base}/{quote('/'.join(parts), safe='/~', errors='replace')}{tail}"
