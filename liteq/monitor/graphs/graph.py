"""A workflow as a graph of series and lanes: the one form of runs and canvases, before it is drawn.

A series is a chain. Lanes side by side are the members of a group, or the branches of a body. Below a node hang the
parts that its order does not hold: children that it sent, what replaced it, callbacks and errbacks.
`canvas_graph` and `run_graph` make it, `graph_text` and `graph_svg` draw it, `graph_document` is its JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from liteq.utils.text import printable

__all__ = [
    "CELLS", "FOLDED", "LOOKS", "MARKS", "NO_TIMES", "WORST", "Cell", "Hung", "Inside", "Node", "Parallel", "Series",
    "Times", "call_name", "cells_of", "fold", "nodes", "tally", "title", "worst",
]  # fmt: skip

FOLDED = 12  # so many members are drawn one by one; more are one strip
CELLS = 200  # of a strip
MOST_PARTS = 48  # of one series
DRAWN = 400  # boxes of one drawing
DEEPEST = 8  # groups in each other
# The worst first. Messages have the states of the file, steps and runs their own words.
WORST = (
    "dead", "failed", "stuck", "upstream_failed", "retrying", "timed_out", "leased", "running", "held", "pending",
    "queued", "scheduled", "paused", "waiting", "blocked", "cancelled", "done", "succeeded",
)  # fmt: skip
LOOKS = {
    "dead": "failed", "failed": "failed", "stuck": "failed", "upstream_failed": "upstream", "retrying": "late",
    "timed_out": "late", "leased": "running", "running": "running", "cancelled": "stopped", "done": "done",
    "succeeded": "done",
}  # fmt: skip
MARKS = {
    "done": "✓", "succeeded": "✓", "failed": "✗", "dead": "✗", "upstream_failed": "⊘", "running": "▶", "leased": "▶",
    "retrying": "↻", "waiting": "…", "queued": "…", "pending": "…", "held": "…", "scheduled": "…", "blocked": "…",
    "timed_out": "!", "stuck": "!", "cancelled": "–", "paused": "‖",
}  # fmt: skip
_RANK = {status: rank for rank, status in enumerate(WORST)}


class Times(NamedTuple):
    """When a part could begin, began and ended, in ms since the epoch; None: not known, or not yet."""

    ready_ms: int | None = None
    started_ms: int | None = None
    ended_ms: int | None = None


NO_TIMES = Times()


class Cell(NamedTuple):
    """A share of a strip: the worst status among its `n` members."""

    status: str
    n: int


@dataclass(frozen=True)
class Node:
    """A box: one call, or `count` of them; then `cells` are its strip."""

    n: int
    kind: str
    name: str
    status: str
    attempts: int = 1
    count: int = 1
    detail: str = ""
    id: str | None = None  # of its message, or of the group that is folded into it
    cells: tuple[Cell, ...] = ()
    times: Times = NO_TIMES
    hung: list[Hung] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name with its kind, where that is no plain step."""
        what = call_name(self.kind, self.name)
        return f"{what} × {self.count:,}" if self.count > 1 else what

    @property
    def words(self) -> str:
        """The status in words."""
        more = f", {self.attempts} attempts" if self.attempts > 1 and self.count == 1 else ""
        return f"{self.detail or self.status.replace('_', ' ')}{more}"

    @property
    def told(self) -> str:
        """The words, with the status also of one whose detail does not say it: for those who see no colour."""
        says_all = self.cells or not self.detail or self.status in self.detail
        return self.words if says_all else f"{self.status.replace('_', ' ')}, {self.words}"


@dataclass(frozen=True)
class Parallel:
    """Lanes side by side: the members of the group `id`, or (None) branches that nothing counts."""

    lanes: list[Series]
    id: str | None = None
    size: int = 0  # members of the group, with those that are not among `lanes`
    hung: list[Hung] = field(default_factory=list)


@dataclass(frozen=True)
class Series:
    """Parts one after another."""

    parts: list[Node | Parallel] = field(default_factory=list)


@dataclass(frozen=True)
class Hung:
    """A part beside the order. `kind`: "child", "replaced" (by it), "callback" or "errback"."""

    kind: str
    series: Series


Inside = Callable[[str], "Series | None"]
"""The inside of a child, by its id; None where it is not drawn."""


def call_name(kind: str, name: str) -> str:
    """A call in words: the name of a step, and what else it is with its kind."""
    return name if kind in {"step", "run", "more", "", name} else f"{kind} {name}".rstrip()


def title(node: Node) -> str:
    """A node in one line: its number, its label, its status in words."""
    number = f"{node.n} " if node.n > 0 else ""
    return printable(f"{number}{node.label}: {node.told}")


def worst(statuses: Iterable[str]) -> str:
    """The status that tells most of several."""
    return min(statuses, key=lambda status: _RANK.get(status, 0), default="done")


def tally(statuses: Iterable[str]) -> str:
    """How many there are of each status, the worst first: "3 dead, 12 leased, 85 succeeded"."""
    counts = Counter(statuses)
    return ", ".join(f"{counts[one]:,} {one.replace('_', ' ')}" for one in WORST if counts[one])


def cells_of(statuses: Sequence[str], most: int = CELLS) -> tuple[Cell, ...]:
    """A strip of at most `most` cells over `statuses`, in their order; the worst of each cell wins."""
    n = len(statuses)
    if n <= most:
        return tuple(Cell(status, 1) for status in statuses)
    bounds = [i * n // most for i in range(most + 1)]
    return tuple(Cell(worst(statuses[low:high]), high - low) for low, high in pairwise(bounds))


def nodes(series: Series) -> Iterator[Node]:
    """All nodes of a graph, in the order of reading."""
    for part in series.parts:
        if isinstance(part, Node):
            yield part
        else:
            for lane in part.lanes:
                yield from nodes(lane)
        for hung in part.hung:
            yield from nodes(hung.series)


def status_of(series: Series) -> str:
    """The worst status of a lane, without what hangs beside its order."""
    if len(series.parts) == 1 and isinstance(only := series.parts[0], Node):
        return only.status
    return worst(_statuses(series))


def _statuses(series: Series) -> Iterator[str]:
    for part in series.parts:
        if isinstance(part, Node):
            yield part.status
        else:
            for lane in part.lanes:
                yield from _statuses(lane)


# -- folding -----------------------------------------------------------------------------------------------------------


def fold(series: Series) -> Series:
    """A graph that can be drawn: of more than `FOLDED` members one strip, of a long series its ends and a strip.

    Where that still makes more than `DRAWN` boxes, the innermost groups are strips too. Nothing is left out: what is
    not drawn is counted in a strip.
    """
    for depth in (DEEPEST, 5, 4, 3, 2, 1):
        folded = _folded(series, depth)
        if sum(1 for _ in nodes(folded)) <= DRAWN:
            return folded
    return _folded(series, 0)


def _folded(series: Series, depth: int) -> Series:
    parts = [_folded_part(part, depth) for part in _shortened(series.parts, depth)]
    return Series(parts)


def _shortened(parts: list[Node | Parallel], depth: int) -> list[Node | Parallel]:
    most = MOST_PARTS if depth > 1 else FOLDED
    if len(parts) <= most:
        return parts
    ends = most // 2 - 1
    middle = parts[ends:-ends]
    statuses = [status_of(Series([part])) for part in middle]
    more = Node(-1, "more", f"{len(middle):,} more", worst(statuses), detail=tally(statuses), cells=cells_of(statuses),
                times=_around(Series(middle)))  # fmt: skip
    return [*parts[:ends], more, *parts[-ends:]]


def _folded_part(part: Node | Parallel, depth: int) -> Node | Parallel:
    hung = list(_hung(part.hung, depth))
    if isinstance(part, Node):
        return replace(part, hung=hung)
    if len(part.lanes) > FOLDED or (depth <= 0 and len(part.lanes) > 1):
        return replace(strip(part.lanes, part.id, part.size), hung=hung)
    return replace(part, lanes=[_folded(lane, depth - 1) for lane in part.lanes], hung=hung)


def _hung(hung: list[Hung], depth: int) -> Iterator[Hung]:
    """Each that hangs, down to `depth`; more than `FOLDED` of one kind as one strip."""
    for kind in dict.fromkeys(one.kind for one in hung):
        same = [one.series for one in hung if one.kind == kind]
        if len(same) > FOLDED or depth <= 0:
            yield Hung(kind, Series([strip(same)]) if len(same) > 1 else _bare(same[0]))
        else:
            yield from (Hung(kind, _folded(one, depth - 1)) for one in same)


def _bare(series: Series) -> Series:
    """A series as one node."""
    first = series.parts[0] if len(series.parts) == 1 else None
    return Series([replace(first, hung=[])]) if isinstance(first, Node) else Series([strip([series])])


def strip(lanes: Sequence[Series], id_: str | None = None, size: int = 0) -> Node:
    """Many lanes as one node."""
    statuses = [status_of(lane) for lane in lanes]
    names = {node.name for lane in lanes[:FOLDED] for node in _first(lane)}
    name = names.pop() if len(names) == 1 else "lanes" if id_ is None else "members"
    detail = tally(statuses)
    if size > len(lanes):
        detail += f"; the first {len(lanes):,} of {size:,}"
    around = [_around(lane) for lane in lanes]
    return Node(
        -1, "", name, worst(statuses), count=max(size, len(lanes)), detail=detail, id=id_, cells=cells_of(statuses),
        times=_hull(around),
    )  # fmt: skip


def _first(series: Series) -> Iterator[Node]:
    for part in series.parts[:1]:
        if isinstance(part, Node):
            yield part
        elif part.lanes:
            yield from _first(part.lanes[0])


def _around(series: Series) -> Times:
    if len(series.parts) == 1 and isinstance(only := series.parts[0], Node):
        return only.times
    found = list[Times]()
    for part in series.parts:
        if isinstance(part, Node):
            found.append(part.times)
        else:
            found += [_around(lane) for lane in part.lanes]
    return _hull(found)


def _hull(times: Sequence[Times]) -> Times:
    """From the first beginning to the last end; no end while one has none."""
    ready = [one.ready_ms for one in times if one.ready_ms is not None]
    started = [one.started_ms for one in times if one.started_ms is not None]
    ended = [one.ended_ms for one in times if one.ended_ms is not None]
    whole = len(ended) == len(times)
    return Times(min(ready, default=None), min(started, default=None), max(ended, default=None) if whole else None)
