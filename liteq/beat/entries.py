"""`ScheduleEntry`: an entry of beat that is due, as the functions see it that wrap `Beat.apply_entry`."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from liteq.clock import from_ms
from liteq.context import App
from liteq.schedules import BaseSchedule
from liteq.serialization import decode
from liteq.storage.sending.periodic import ScheduleRecord

__all__ = ["ScheduleEntry"]


class ScheduleEntry:
    """An entry that is due. What is changed in its `args`, `kwargs` and `options` is sent so this time."""

    def __init__(
        self, app: App, record: ScheduleRecord, schedule: BaseSchedule, runs: list[datetime], next_due_ms: int | None
    ) -> None:
        self.app = app
        self.record = record
        self.schedule = schedule
        self.runs = runs
        """The times for which it is sent, the oldest first."""
        self.next_due_ms = next_due_ms
        self.unfinished: str | None = None
        """The id of its last run, which is cancelled in the transaction that sends it."""
        self.sent = False
        """Whether this beat has sent it: of several the fastest does."""

    @property
    def name(self) -> str:
        """Its key in `beat_schedule`."""
        return self.record.name

    @cached_property
    def signature(self) -> dict[str, Any]:
        """The call that it sends, as a dict."""
        found: dict[str, Any] = decode(self.record.signature)
        return found

    @property
    def task(self) -> str:
        """The name of its task."""
        return str(self.signature["task"])

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self.signature["args"]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The named arguments."""
        found: dict[str, Any] = self.signature["kwargs"]
        return found

    @property
    def options(self) -> dict[str, Any]:
        """The options with which it is sent: `headers`, `queue`, ..."""
        found: dict[str, Any] = self.signature["options"]
        return found

    @property
    def last_run_at(self) -> datetime | None:
        """When it was sent last; None where it never was."""
        ms = self.record.last_run_ms
        return None if ms is None else from_ms(ms)

    @property
    def total_run_count(self) -> int:
        """How often it was sent."""
        return self.record.total_run_count

    def __repr__(self) -> str:
        return f"<ScheduleEntry: {self.name} {self.task}(*{self.args!r}, **{self.kwargs!r}) {self.schedule!r}>"
