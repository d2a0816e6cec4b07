"""The timeline of a run: a bar a step, over the time from its start to its end or to now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from liteq.monitor.graphs.graph import MARKS, call_name, worst
from liteq.monitor.graphs.run_graph import neighbours
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
    """The bars of the last steps, many neighbours of one name as one.

    `█`: executing, `░`: waiting, with a mark at the end of one that failed or has timed out.
    """
    shown = [_Shown.of(group, now_ms) for group in neighbours(steps)][-MOST:]
    if not shown:
        return []
    begun = min(one.start for one in shown)
    start = begun if shown[0].n > 1 else min(run.started_ms or begun, begun)
    whole = max(1, *(one.end - start for one in shown))
    found = []
    for one in shown:
        first = min(width - 1, (one.start - start) * width // whole)
        last = max(first + 1, -(-(one.end - start) * width // whole))
        letters = ("░" if one.waits else "█") * (last - first)
        if one.status in {"failed", "timed_out"}:
            letters = letters[:-1] + MARKS[one.status]
        took = span(max(0, one.end - one.start) / 1000)
        found.append(Bar(one.n, one.label, (" " * first + letters).ljust(width)[:width], took, one.status))
    return found


class _Shown(NamedTuple):
    """One step, or many of one name: when the first began, when the last ended or now."""

    n: int
    label: str
    status: str
    waits: bool
    start: int
    end: int

    @staticmethod
    def of(steps: Sequence[RunStep], now_ms: int) -> _Shown:
        first = steps[0]
        label = call_name(first.row.kind, first.row.name) + (f" × {len(steps):,}" if len(steps) > 1 else "")
        status = worst(one.status for one in steps)
        waits = first.row.kind in WAITS or status in {"waiting", "retrying"}
        ends = [_end(one, now_ms) for one in steps]
        return _Shown(first.n, label, status, waits, min(one.row.started_ms for one in steps), max(ends))


def _end(step: RunStep, now_ms: int) -> int:
    return max(step.row.started_ms, now_ms if step.row.ended_ms is None else step.row.ended_ms)
