"""The graph of a run: its calls one after another, branches and children side by side; as text and for Mermaid.

Calls that began next to each other and are not waited for (spawn, map) stand side by side, and so do the branches of an
async body. Many of one name are one node with a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from liteq.storage.runs.records import RunRecord, RunStep
from liteq.utils.text import printable

__all__ = [
    "MARKS",
    "Inside",
    "Node",
    "Parallel",
    "Series",
    "as_mermaid",
    "as_text",
    "body",
    "call_name",
    "graph",
    "neighbours",
    "worst",
]

FOLDED = 12  # so many neighbours of one name are a node of their own each; more are one together
MOST = 500  # nodes of a series that are drawn
WORST = ("failed", "retrying", "running", "waiting", "timed_out", "cancelled", "done")
MARKS = {
    "done": "✓", "failed": "✗", "running": "▶", "retrying": "↻", "waiting": "…", "timed_out": "!", "cancelled": "–",
    "queued": "…", "paused": "‖", "stuck": "!", "succeeded": "✓",
}  # fmt: skip


def call_name(kind: str, name: str) -> str:
    """A call in words: the name of a step, and what else it is with its kind."""
    return name if kind in {"step", "run", "", name} else f"{kind} {name}".rstrip()


@dataclass(frozen=True)
class Node:
    """A box: the step `n`, or `count` steps from there on."""

    n: int
    kind: str
    name: str
    status: str
    attempts: int = 1
    count: int = 1
    detail: str = ""

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


@dataclass(frozen=True)
class Parallel:
    """Lanes side by side."""

    lanes: list[Series]


@dataclass(frozen=True)
class Series:
    """Parts one after another."""

    parts: list[Node | Parallel] = field(default_factory=list)


Inside = Callable[[str], "Series | None"]
"""The inside of a child, by its id; None where it is not drawn."""


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
            scope = (
                "" if one.row.scope.startswith("=") else one.row.scope
            )  # a call with a key stands where it is called
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
                parts.append(Parallel([Series(one) for one in drawn]))
            else:
                parts += [part for one in drawn for part in one]
        if len(parts) > MOST:
            parts[MOST:] = [Node(-1, "", f"{len(parts) - MOST:,} more", "done", detail="not drawn")]
        return Series(parts)

    def _first(self, scope: str) -> int:
        own = [one.n for one in self.steps[scope]]
        return min([*own, *(self._first(branch) for branch in self.below.get(scope, ()))])

    def _drawn(self, steps: Sequence[RunStep]) -> list[Node | Parallel]:
        """The node of a step, with the inside of its child below it; of many the node alone."""
        first, row = steps[0], steps[0].row
        if len(steps) > 1:
            counts = Counter(one.status for one in steps)
            detail = ", ".join(f"{counts[status]:,} {status.replace('_', ' ')}" for status in WORST if counts[status])
            return [Node(first.n, row.kind, row.name, worst(counts), count=len(steps), detail=detail)]
        node = Node(first.n, row.kind, row.name, first.status, row.attempts)
        inner = self.inside(row.child) if self.inside is not None and row.child is not None else None
        return [node, Parallel([inner])] if inner is not None and inner.parts else [node]


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


def worst(statuses: Iterable[str]) -> str:
    """The status that tells most of several."""
    found = set(statuses)
    return next((status for status in WORST if status in found), "done")


# -- as text ---------------------------------------------------------------------------------------------------------


def as_text(series: Series) -> str:
    """The graph as an indented list, a line a node."""
    return "\n".join(_lines(series, ""))


def _lines(series: Series, indent: str) -> Iterator[str]:
    for part in series.parts:
        if isinstance(part, Node):
            number = f"{part.n:>3} " if part.n > 0 else ""
            yield f"{indent}{number}{MARKS.get(part.status, '')} {printable(part.label)}  {printable(part.words)}"
            continue
        for i, lane in enumerate(part.lanes):
            last = i == len(part.lanes) - 1
            lines = list(_lines(lane, ""))
            yield f"{indent}  {'└' if last else '├'}─ {lines[0]}"
            for line in lines[1:]:
                yield f"{indent}  {' ' if last else '│'}  {line}"


# -- as Mermaid ------------------------------------------------------------------------------------------------------

COLOURS = {
    "done": "#d5f0dc", "succeeded": "#d5f0dc", "failed": "#f8d3d3", "stuck": "#f8d3d3", "running": "#d3e4f8",
    "retrying": "#fbe8c6", "waiting": "#eeeeee", "queued": "#eeeeee", "paused": "#eeeeee", "timed_out": "#fbe8c6",
    "cancelled": "#e2e2e2",
}  # fmt: skip


def as_mermaid(series: Series) -> str:
    """The graph as a flowchart of Mermaid, from top to bottom."""
    lines = ["flowchart TD"]
    used: set[str] = set()
    _chart(series, [], lines, used)
    colours = [(status, colour) for status, colour in COLOURS.items() if status in used]
    lines += [f"  classDef {status} fill:{colour},stroke:#555,color:#111" for status, colour in colours]
    return "\n".join(lines)


def _chart(series: Series, before: list[str], lines: list[str], used: set[str]) -> list[str]:
    """Write a series that follows the nodes `before`; the nodes at its end."""
    for part in series.parts:
        if isinstance(part, Parallel):
            before = [end for lane in part.lanes for end in _chart(lane, before, lines, used)]
            continue
        name = f"n{sum('[' in line for line in lines)}"
        text = f"{f'{part.n} ' if part.n > 0 else ''}{_escaped(part.label)}<br/>{_escaped(part.words)}"
        lines.append(f'  {name}["{text}"]:::{part.status}')
        used.add(part.status)
        lines += [f"  {one} --> {name}" for one in before]
        before = [name]
    return before


def _escaped(text: str) -> str:
    """`text` for a quoted label: each character that Mermaid or HTML could take for its own as an entity."""
    return "".join(c if c.isalnum() or c in " _-.,:/×()" else f"#{ord(c)};" for c in printable(text))
