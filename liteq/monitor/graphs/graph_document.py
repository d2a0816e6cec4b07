"""The graph of a workflow as a JSON document: parts in each other, and the edges between its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liteq.monitor.graphs.graph import Hung, Node, Parallel, Series, nodes
from liteq.utils.text import iso_time

__all__ = ["edges_document", "series_document"]


def series_document(series: Series) -> dict[str, Any]:
    """A series as {"type": "series", "parts": [...]}; a part is a node or a group, and may have "below"."""
    return {"type": "series", "parts": [_part(part) for part in series.parts]}


def _part(part: Node | Parallel) -> dict[str, Any]:
    below = {"below": [_below(one) for one in part.hung]} if part.hung else {}
    if isinstance(part, Node):
        return {**_node(part), **below}
    lanes = [series_document(lane) for lane in part.lanes]
    return {"type": "group", "id": part.id, "size": max(part.size, len(lanes)), "lanes": lanes, **below}


def _below(hung: Hung) -> dict[str, Any]:
    return {"kind": hung.kind, **series_document(hung.series)}


def _node(node: Node) -> dict[str, Any]:
    ready_ms, started_ms, ended_ms = node.times
    found: dict[str, Any] = {
        "type": "strip" if node.cells else "node",
        "id": node.id,
        "n": node.n if node.n > 0 else None,
        "kind": node.kind,
        "name": node.name,
        "label": node.label,
        "status": node.status,
        "words": node.told,
        "attempts": node.attempts,
        "count": node.count,
        "due": ready_ms,
        "due_iso": iso_time(ready_ms),
        "started": started_ms,
        "started_iso": iso_time(started_ms),
        "finished": ended_ms,
        "finished_iso": iso_time(ended_ms),
    }
    if node.cells:
        found["cells"] = [list(cell) for cell in node.cells]
    return found


def edges_document(series: Series) -> list[dict[str, Any]]:
    """The edges as {"from", "to", "kind"}; nodes by their numbers in the order of reading.

    `kind`: "next", or that of what hangs at the end: "child", "replaced", "callback", "errback".
    """
    numbers = {id(node): n for n, node in enumerate(nodes(series))}
    return [{"from": numbers[id(a)], "to": numbers[id(b)], "kind": kind} for a, b, kind in edges(series)]


def edges(series: Series) -> Iterator[tuple[Node, Node, str]]:
    """Each pair of nodes of which the second follows the first, or hangs below it."""
    before = list[Node]()
    for part in series.parts:
        for first in _firsts(part):
            yield from ((one, first, "next") for one in before)
        if isinstance(part, Parallel):
            for lane in part.lanes:
                yield from edges(lane)
        before = _lasts(part) or before
        for hung in part.hung:
            yield from ((before[0], first, hung.kind) for first in _first_of(hung.series) if before)
            yield from edges(hung.series)


def _firsts(part: Node | Parallel) -> list[Node]:
    return [part] if isinstance(part, Node) else [one for lane in part.lanes for one in _first_of(lane)]


def _first_of(series: Series) -> list[Node]:
    return _firsts(series.parts[0]) if series.parts else []


def _lasts(part: Node | Parallel) -> list[Node]:
    if isinstance(part, Node):
        return [part]
    return [one for lane in part.lanes if lane.parts for one in _lasts(lane.parts[-1])]
