"""Names that callers choose, of tasks, queues and messages: checked where they come in, and written in a path."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

__all__ = [
    "LOG_STREAM",
    "LONGEST",
    "WEBHOOK",
    "checked_id",
    "checked_key",
    "checked_name",
    "checked_priority",
    "is_built_in",
    "is_name",
    "segment",
    "unescaped",
]

LONGEST = 255  # characters; AMQP's limit, which names that come from Celery keep to
WEBHOOK = "liteq.webhook"  # the task that tells a URL of runs
LOG_STREAM = "liteq.log"  # the stream of a task in which the lines of its log are kept
PRIORITIES = range(-100, 256)  # AMQP's, and below them those of Django's tasks
SPECIAL: Final = re.compile(r"[~/\\\x00-\x1f\x7f-\x9f]|^\.{1,2}$")
ESCAPED: Final = re.compile(r"~([0-9A-F]{2})")


def is_built_in(task: str) -> bool:
    """Whether this is the name of a task that every app has: lists of a program's own tasks leave it out."""
    return task.startswith("celery.") or task == WEBHOOK


def checked_name(name: Any, what: str, longest: int = LONGEST) -> str:
    """`name`, which is `what` ("a task's name"). Raises TypeError, ValueError for what cannot be one."""
    if not isinstance(name, str):
        raise TypeError(f"{what} is a string, not {name!r}")
    if not 0 < len(name) <= longest:
        raise ValueError(f"{what} has 1 to {longest} characters, not {len(name):,}")
    if "\0" in name or not _encodable(name):
        raise ValueError(f"{what} is text without NUL and lone surrogates, not {name!a}")
    return name


def is_name(value: Any) -> bool:
    """Whether `value` can be a name. What came from outside may be none, and some engines cannot look for that text."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST and "\0" not in value and _encodable(value)


def checked_id(id_: str | UUID) -> str:
    """A `task_id` as the text it is kept as. Raises as `checked_name`."""
    return str(id_) if isinstance(id_, UUID) else checked_name(id_, "a task_id")


def checked_key(key: Any) -> str | None:
    """A `unique_key`, None for none. Raises as `checked_name`."""
    return None if key is None else checked_name(key, "a unique_key")


def checked_priority(priority: Any) -> int:
    """A priority: -100 to 255, the higher first. Raises TypeError for no whole number, ValueError beyond those."""
    try:
        number = int(priority)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(priority, bool) or (isinstance(priority, float) and number != priority):
        raise TypeError(f"a priority is a whole number, not {priority!r}")
    if number not in PRIORITIES:
        raise ValueError(f"a priority is from {PRIORITIES[0]} to {PRIORITIES[-1]}, the higher first, not {priority!r}")
    return number


def segment(name: object) -> str:
    """`name` as one segment of a path, before it is percent-quoted.

    A host takes `%2F` for a slash before it routes, and a browser takes dots alone for a folder, so these are written
    as `~2F` and `~2E`.
    """
    return SPECIAL.sub(lambda found: "".join(f"~{ord(c):02X}" for c in found[0]), str(name)) or "~"


def unescaped(text: str) -> str:
    """The name that `segment` wrote as `text`."""
    return "" if text == "~" else ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def _encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
