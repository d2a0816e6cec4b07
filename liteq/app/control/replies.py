"""Ids and names as remote control takes them, and the answers of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from liteq.serialization import encode
from liteq.utils.misspelt import LIKELY, nearest, unexpected

__all__ = ["Reply", "check_extra", "flatten_reply", "ids_of", "name_of_celery", "stamps_of"]

Reply = dict[str, Any]

OPTIONS = frozenset(
    {"destination", "reply", "timeout", "limit", "callback", "pattern", "matcher", "connection", "channel"}
    | {"arguments", "terminate", "signal"}
)


def check_extra(command: str, extra: Mapping[str, Any]) -> None:
    """Refuse further arguments of a command that look like an option of `broadcast` and are none. Raises TypeError."""
    unknown = [name for name in extra if name not in OPTIONS and nearest(name, OPTIONS, LIKELY)]
    if unknown:
        raise unexpected(f"control command {command!r}", unknown, OPTIONS)


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
    """One id, or those of any iterable; results count as their ids, and groups of them as those of their members."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return [str(getattr(value, "id", value))]
    return [id_ for one in value for id_ in ids_of(one)]


def name_of_celery(name: str) -> str:
    """The name that Celery gives to such a worker, where it was given none: health checks ask for `celery@HOST`."""
    return f"celery@{name.removeprefix('liteq@')}" if name.startswith("liteq@") else name
