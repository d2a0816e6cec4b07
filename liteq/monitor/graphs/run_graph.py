"""The graph of a run: its calls one after another, branches and children side by side.

Calls that began next to each other and are not waited for (spawn, map) stand side by side, and so do the branches of an
async body. Many of one name are one node with a count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from liteq.monitor.graphs.graph import (
    FOLDED,
    Hung,
    Inside,
    Node,
    Parallel,
    Series,
    Times,
    cells_of,
    nodes,
    tally,
    worst,
)
from liteq.storage.runs.records import RunRecord, RunStep

__all__ = ["body", "graph", "neighbours"]

MOST = 500  # nodes of a series that are drawn


def graph(run: RunRecord, steps: Sequence[RunStep], inside: Inside | None = None) -> Series:
    """The graph of a run, with a node for its start and, once it has ended, for its end.

    `inside`: what children consist of, which is drawn below their calls.
    """
    start = Node(0, "run", run.name, run.status, detail=f"run {run.id}")
    end = [Node(-1, "run", "end", run.status)] if run.finished_ms is not None else []
    return Series([start, *body(steps, inside).parts, *end])


def body(steps: Sequence[RunStep], inside: Inside | None = None) -> Series:
    """The calls of a run's present generation."""
    newest = max((one.gen for one in steps), default=0)
    by_scope: dict[str, list[RunStep]] = {}
    for one in steps:
        if one.gen == newest:
            # A call with a key stands where it is called.
            scope = "" if one.row.scope.startswith("=") else one.row.scope
            by_scope.setdefault(scope, []).append(one)
    below: dict[str, list[str]] = {}
    for scope in by_scope:
        if scope:
            below.setdefault(_parent(scope, by_scope), []).append(scope)
    return _Scopes(by_scope, below, inside).series("")


def _parent(scope: str, known: dict[str, list[RunStep]]) -> str:
    while scope:
        scope = scope.rpartition("/")[0]
        if scope in known:
            return scope
    return ""


@dataclass(frozen=True)
class _Scopes:
    """The steps of each scope, and the scopes below each."""

    steps: dict[str, list[RunStep]]
    below: dict[str, list[str]]
    inside: Inside | None

    def series(self, scope: str) -> Series:
        """The calls of a scope in the order in which they began, each group of branches where its first call began."""
        items: list[tuple[int, RunStep | str]] = [(one.n, one) for one in self.steps.get(scope, ())]
        items += [(self._first(branch), branch) for branch in self.below.get(scope, ())]
        items.sort(key=lambda item: item[0])
        parts: list[Node | Parallel] = []
        for key, group in groupby((item for _, item in items), key=_beside):
            members = list(group)
            if key == "branches":
                lanes = [self.series(str(one)) for one in members]
                parts += lanes[0].parts if len(lanes) == 1 and len(lanes[0].parts) == 1 else [Parallel(lanes)]
                continue
            drawn = [self._drawn(one) for one in neighbours([one for one in members if isinstance(one, RunStep)])]
            if key == "children" and len(drawn) > 1:
                parts.append(Parallel([Series([one]) for one in drawn]))
            else:
                parts += drawn
        if len(parts) > MOST:
            left = [node.status for part in parts[MOST:] for node in nodes(Series([part]))]
            parts[MOST:] = [
                Node(-1, "more", f"{len(parts) - MOST:,} more", worst(left), detail="not drawn", cells=cells_of(left))
            ]
        return Series(parts)

    def _first(self, scope: str) -> int:
        own = [one.n for one in self.steps[scope]]
        return min([*own, *(self._first(branch) for branch in self.below.get(scope, ()))])

    def _drawn(self, steps: Sequence[RunStep]) -> Node:
        """The node of a step, with the inside of its child below it; of many the node alone."""
        first, row = steps[0], steps[0].row
        times = Times(None, min(one.row.started_ms for one in steps), None)
        if all(one.row.ended_ms is not None for one in steps):
            times = times._replace(ended_ms=max(one.row.ended_ms or 0 for one in steps))
        if len(steps) > 1:
            statuses = [one.status for one in steps]
            return Node(
                first.n, row.kind, row.name, worst(statuses), count=len(steps), detail=tally(statuses),
                cells=cells_of(statuses), times=times,
            )  # fmt: skip
        inner = self.inside(row.child) if self.inside is not None and row.child is not None else None
        hung = [Hung("child", inner)] if inner is not None and inner.parts else []
        attempts = 0 if row.kind == "approval" else row.attempts  # there they are its reminders
        return Node(first.n, row.kind, row.name, first.status, attempts, id=row.child, times=times, hung=hung)


def _beside(item: RunStep | str) -> str:
    if isinstance(item, str):
        return "branches"
    return "children" if item.row.kind in {"spawn", "map"} else "steps"


def neighbours(steps: Sequence[RunStep]) -> Iterator[list[RunStep]]:
    """The steps one by one; more than `FOLDED` next to each other that call the same, together."""
    for _, group in groupby(steps, key=lambda one: (one.gen, one.row.scope, one.row.kind, one.row.name)):
        members = list(group)
        if len(members) > FOLDED:
            yield members
        else:
            yield from ([one] for one in members)
