"""The timeline of a run: a bar a step, over the time from its start to its end or to now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from liteq.monitor.run_graph import MARKS
from liteq.storage.runs.records import RunRecord, RunStep
from liteq.utils.text import span

__all__ = ["Bar", "bars"]

WAITS = frozenset({"sleep", "event", "approval", "timer"})
MOST = 60  # bars: of a longer history the last ones


class Bar(NamedTuple):
    """One line: the step, its bar, in which each letter is a share of the time, and how long it took."""

    n: int
    label: str
    bar: str
    took: str
    status: str


def bars(run: RunRecord, steps: Sequence[RunStep], *, now_ms: int, width: int = 40) -> list[Bar]:
    """The bars of the last steps. `█`: executing, `░`: waiting, with a mark at the end of one that failed."""
    shown = list(steps)[-MOST:]
    if not shown:
        return []
    start = min(run.started_ms or shown[0].row.started_ms, *(one.row.started_ms for one in shown))
    if len(steps) > len(shown):
        start = min(one.row.started_ms for one in shown)
    ends = [_end(one, now_ms) for one in shown]
    whole = max(1, *(end - start for end in ends))
    found = []
    for one, end in zip(shown, ends, strict=True):
        row = one.row
        first = min(width - 1, (row.started_ms - start) * width // whole)
        last = max(first + 1, -(-(end - start) * width // whole))
        letters = ("░" if row.kind in WAITS or one.status in {"waiting", "retrying"} else "█") * (last - first)
        if one.status in {"failed", "timed_out"}:
            letters = letters[:-1] + MARKS[one.status]
        label = row.name if row.kind == "step" else f"{row.kind} {row.name}".rstrip()
        took = span(max(0, end - row.started_ms) / 1000)
        found.append(Bar(one.n, label, (" " * first + letters).ljust(width)[:width], took, one.status))
    return found


def _end(step: RunStep, now_ms: int) -> int:
    return max(step.row.started_ms, now_ms if step.row.ended_ms is None else step.row.ended_ms)
