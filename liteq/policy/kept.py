"""The options by which more than a result is kept of a task: its tags, for the search, and its log."""

from __future__ import annotations

from typing import Any

from liteq.utils.durations import to_span_ms
from liteq.utils.names import checked_name

__all__ = ["KEPT", "MOST_TAGS", "check_kept", "checked_tags", "log_keep_ms"]

KEPT = ("tags", "log_keep")
"""The options, as of a task so of a call."""

MOST_TAGS = 50  # of one message


def check_kept(task: Any) -> None:
    """Raises TypeError, ValueError for options of `task` that are none; a setting is not looked at."""
    what = f"task {task.name!r}"
    checked_tags(getattr(task, "tags", ()), what)
    log_keep_ms(vars(task).get("log_keep", vars(type(task)).get("log_keep")), what)


def checked_tags(tags: Any, what: str) -> tuple[str, ...]:
    """The option `tags` of `what` ("task 'shop.bill'"), each word once. Raises TypeError and ValueError."""
    if tags is None:
        return ()
    if not isinstance(tags, (list, tuple, set, frozenset)):
        raise TypeError(f'{what}: tags is a list of words, as ["nightly", "tenant:a"], not {tags!r:.80}')
    found = dict.fromkeys(checked_name(tag, f"{what}: a tag") for tag in tags)
    if len(found) > MOST_TAGS:
        raise ValueError(f"{what}: a message has {MOST_TAGS} tags at most, not {len(found):,}")
    return tuple(found)


def log_keep_ms(keep: Any, what: str) -> int | None:
    """The option `log_keep` of `what` in milliseconds; None for None and for 0: no log is kept. Raises as `seconds`."""
    if keep is None:
        return None
    return to_span_ms(keep, f"{what}: log_keep") or None
