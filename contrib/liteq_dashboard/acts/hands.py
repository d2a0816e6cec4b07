"""Acts on queues and schedules, and the right that each act needs: for pages, the API and agents.

Imports no package of the extra.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liteq.exceptions import LiteqError, NotEligible, StorageError
from liteq.operating import Actor
from liteq.utils.text import iso_time
from liteq_dashboard.http import Reader

__all__ = ["RIGHTS", "RIGHTS_OF_RUNS", "act_on_schedule", "pause", "purge", "resume"]

RIGHTS: Mapping[str, str] = {
    **dict.fromkeys(("retry", "requeue", "resend", "move", "run-at"), "retry"),
    **dict.fromkeys(("revoke", "terminate", "cancel"), "cancel"),
    "delete": "delete",
    **dict.fromkeys(("pause", "resume", "rewind"), "workflows"),
}
"""The right that each action on tasks and runs needs, alone or on many."""

RIGHTS_OF_RUNS: Mapping[str, str] = {
    "cancel": "cancel", "terminate": "cancel", "retry": "retry", "pause": "workflows", "resume": "workflows",
    "fork": "workflows", "rewind": "workflows", "send": "workflows",
}  # fmt: skip
"""The right that each act on one run needs."""


def pause(reader: Reader, queue: str, by: Actor, until_s: float | None = None) -> str:
    """Pause a queue; what was done, in words. Raises ValueError for an end that is over."""
    if until_s is not None and until_s * 1000 <= reader.app.clock.now_ms():
        raise ValueError(f"until is over: {iso_time(int(until_s * 1000))}; write a time to come, in ms since the epoch")
    reader.app.storage.queues.pause(queue, until_s, actor=by.name, reason=by.reason, source=by.source)
    return f"{queue} is paused: what runs goes on, nothing more is begun."


def resume(reader: Reader, queue: str, by: Actor) -> str:
    """Let a queue go on; what was done, in words. Raises NotEligible for a pause of more than this viewer sees."""
    storage = reader.app.storage
    pause = storage.queues.paused().of(queue)
    if pause is not None and not reader.sight.covers(pause.queue):
        why = f"it is paused with all that fit {pause.queue}, and you do not see all of these"
        raise NotEligible(queue, "resume", "paused", why)
    if pause is not None and storage.queues.resume(pause.queue, actor=by.name, reason=by.reason, source=by.source):
        return f"{pause.queue} goes on."
    return f"{queue} was not paused."


def purge(reader: Reader, queue: str, by: Actor) -> int:
    """Delete what waits in a queue; how many messages."""
    return int(reader.app.storage.operations.purge([queue], by=by))


def act_on_schedule(reader: Reader, action: str, name: str, *, by: Actor, queue: str | None) -> Any:
    """Run, pause or resume a schedule, noted in the audit; what was sent.

    Raises KeyError, and ValueError for what cannot be sent here.
    """
    schedules = reader.app.schedules
    verb = schedules.run_now if action == "run" else getattr(schedules, action)
    try:
        return verb(name, by=by, queue=queue)
    except StorageError:
        raise
    except LiteqError as error:
        raise ValueError(str(error)) from error
