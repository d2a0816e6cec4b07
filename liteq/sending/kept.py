"""The parts of a message that stand beside its row: its tags, that it has a log, and the timeout of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from liteq.message import Batch, Flag, Message, RunSpec
from liteq.policy.kept import KEPT, checked_tags
from liteq.sending.keys import KEYED_BY_CALL
from liteq.utils.durations import limit_ms

__all__ = ["MORE_BY_CALL", "keep_rows", "mark_kept"]

MORE_BY_CALL = KEYED_BY_CALL | {*KEPT, "timeout"}
"""Options of a call that are more than a part of its row or its document."""


def mark_kept(message: Message, tags: Sequence[str], options: Mapping[str, Any]) -> None:
    """Give `message` the `tags` of its task and those of its call, and say that the call has a word on its log.

    `timeout` among the options is that of a run, in the place of its workflow's own. Celery has an option of this name
    for its connection to the broker, which means nothing here: a task's is passed over.
    """
    if options.get("timeout") is not None and message.flags & Flag.RUN:
        timeout_ms = limit_ms(options["timeout"], f"the timeout of a run of {message.task!r}")
        message.run = replace(message.run or RunSpec(), timeout_ms=timeout_ms)
    if options.get("log_keep") is not None:
        if message.flags & Flag.RUN:
            raise TypeError(f"workflow {message.task!r}: log_keep= is of tasks; a step shows its work by ctx.emit()")
        message.flags |= Flag.LOGS
    if options.get("tags"):
        own = checked_tags(options["tags"], f"a call of task {message.task!r}")
        tags = checked_tags([*tags, *own], f"task {message.task!r}")
    if tags and message.flags & Flag.RUN:
        spec = message.run or RunSpec()
        message.run = replace(spec, tags=tuple(dict.fromkeys([*spec.tags, *tags])))
    elif tags:
        message.flags |= Flag.TAGGED
        message.tags = tuple(tags)


def keep_rows(batch: Batch) -> None:
    """Let the rows of `batch` stay when they have succeeded: so that a repeated call finds them."""
    for message in batch.messages:
        if not message.flags & Flag.ON_FAILURE:
            message.flags |= Flag.KEPT
