"""Ids and names as remote control takes them, and the answers of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from liteq.serialization import encode

__all__ = ["Reply", "flatten_reply", "ids_of", "name_of_celery", "stamps_of"]

Reply = dict[str, Any]


def flatten_reply(reply: Iterable[Mapping[str, Any]]) -> Reply:
    """`[{worker: answer}, ...]` as one dict."""
    found: Reply = {}
    for item in reply:
        found.update(item)
    return found


def stamps_of(value: Any) -> set[str]:
    """One stamp, or several, each as JSON: as they can be compared and kept."""
    several = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return {encode(one, what="a stamp").decode() for one in several}


def ids_of(value: Any) -> list[str]:
    """One id, or several; results count as their ids."""
    several = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    return [str(getattr(one, "id", one)) for one in several]


def name_of_celery(name: str) -> str:
    """The name that Celery gives to such a worker, where it was given none: health checks ask for `celery@HOST`."""
    return f"celery@{name.removeprefix('liteq@')}" if name.startswith("liteq@") else name
