"""Globs of queues: `mail.*`. `*` is any text, `?` one character; nothing else has a meaning."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["fits", "is_glob"]


def is_glob(name: str) -> bool:
    """Whether `name` is a glob, and no queue's name."""
    return "*" in name or "?" in name


@lru_cache(256)
def _pattern(glob: str) -> re.Pattern[str]:
    parts = re.split(r"([*?])", glob)
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), re.DOTALL)


def fits(name: str, glob: str) -> bool:
    """Whether the queue `name` fits `glob`, or is called so."""
    return name == glob or (is_glob(glob) and _pattern(glob).fullmatch(name) is not None)
