"""The places of a graph's parts in pixels: a recursion over series and lanes, pure.

A series goes from left to right and wraps where it gets too wide. Lanes stand one below the other in the frame of their
group; what hangs beside the order stands below its part, indented. No two boxes overlap, and all is inside the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from liteq.monitor.graphs.graph import Hung, Node, Parallel, Series

__all__ = ["Box", "Frame", "Line", "Picture", "layout"]

NODE_WIDTH, NODE_HEIGHT = 190, 46
STRIP_WIDTH, STRIP_HEIGHT = 430, 62
BESIDE, BELOW, INDENT, PAD, HEAD = 34, 16, 26, 14, 20
MARGIN = 12
WIDEST = 1_140  # a series wraps behind this


class Box(NamedTuple):
    """The rectangle of a node."""

    x: float
    y: float
    width: float
    height: float
    node: Node


class Frame(NamedTuple):
    """The rectangle around the lanes of a group."""

    x: float
    y: float
    width: float
    height: float
    part: Parallel


class Line(NamedTuple):
    """A line through these points. `kind`: "next", or the kind of what hangs at its end."""

    points: tuple[tuple[float, float], ...]
    kind: str


@dataclass
class Picture:
    """Everything in its place."""

    width: float = 0
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


class _Room(NamedTuple):
    """The room that a part takes, and the heights at which lines enter and leave it."""

    width: float
    height: float
    enter: float
    leave: float


def layout(series: Series) -> Picture:
    """The picture of a folded graph."""
    picture = Picture()
    places = _Places(picture)
    room = places.room_of_series(series)
    places.put_series(series, MARGIN, MARGIN)
    picture.width, picture.height = room.width + 2 * MARGIN, room.height + 2 * MARGIN
    return picture


class _Places:
    """Measures parts, each once, and puts them into a picture."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._rooms = dict[int, _Room]()  # by identity: the parts live as long as this does

    # -- measuring

    def room_of_series(self, series: Series) -> _Room:
        found = self._rooms.get(id(series))
        if found is None:
            found = self._rooms[id(series)] = self._measured(series)
        return found

    def _measured(self, series: Series) -> _Room:
        rows = self._rows(series)
        if not rows:
            return _Room(NODE_WIDTH, NODE_HEIGHT, NODE_HEIGHT / 2, NODE_HEIGHT / 2)
        heights = [self._row_height(row) for row in rows]
        width = max(sum(self._room(part).width for part in row) + BESIDE * (len(row) - 1) for row in rows)
        height = sum(heights) + BELOW * 2 * (len(rows) - 1)
        leave = height - heights[-1] + self._base(rows[-1])
        # The line from the end of a row to the next one runs through the gutters at both sides.
        gutter = BESIDE if len(rows) > 1 else 0
        return _Room(width + gutter, height, self._base(rows[0]), leave)

    def _rows(self, series: Series) -> list[list[Node | Parallel]]:
        rows, width = list[list[Node | Parallel]](), 0.0
        for part in series.parts:
            wide = self._room(part).width
            if not rows or width + BESIDE + wide > WIDEST:
                rows.append([part])
                width = wide
            else:
                rows[-1].append(part)
                width += BESIDE + wide
        return rows

    def _base(self, row: list[Node | Parallel]) -> float:
        return max(self._room(part).enter for part in row)

    def _row_height(self, row: list[Node | Parallel]) -> float:
        base = self._base(row)
        return max(base - self._room(part).enter + self._room(part).height for part in row)

    def _room(self, part: Node | Parallel) -> _Room:
        found = self._rooms.get(id(part))
        if found is None:
            own = self._own(part)
            width, height = own.width, own.height
            for hung in part.hung:
                below = self.room_of_series(hung.series)
                width = max(width, INDENT + below.width)
                height += BELOW + below.height
            found = self._rooms[id(part)] = _Room(width, height, own.enter, own.enter)
        return found

    def _own(self, part: Node | Parallel) -> _Room:
        """The room of a part without what hangs below it."""
        if isinstance(part, Node):
            wide, high = (STRIP_WIDTH, STRIP_HEIGHT) if part.cells else (NODE_WIDTH, NODE_HEIGHT)
            return _Room(wide, high, high / 2, high / 2)
        lanes = [self.room_of_series(lane) for lane in part.lanes]
        width = max((lane.width for lane in lanes), default=NODE_WIDTH) + 2 * PAD
        height = HEAD + sum(lane.height for lane in lanes) + BELOW * (len(lanes) - 1) + PAD
        return _Room(width, height, height / 2, height / 2)

    # -- putting

    def put_series(self, series: Series, x: float, y: float) -> float:
        """Put a series; the x of its end."""
        rows = self._rows(series)
        indent = BESIDE / 2 if len(rows) > 1 else 0
        end, before = x, None
        for row in rows:
            base, at = self._base(row), x + indent
            for part in row:
                room = self._room(part)
                line_y = y + base
                if before is not None:
                    self._join(before, (at, line_y), x, y)
                self._put(part, at, line_y - room.enter)
                end = at + self._own(part).width
                before = (end, line_y)
                at += room.width + BESIDE
            y += self._row_height(row) + 2 * BELOW
        return end

    def _join(self, start: tuple[float, float], end: tuple[float, float], left: float, row_y: float) -> None:
        if start[1] == end[1]:
            points: tuple[tuple[float, float], ...] = (start, end)
        else:  # around, to the row below
            out, gutter = start[0] + BESIDE / 4, row_y - BELOW
            points = (start, (out, start[1]), (out, gutter), (left + 2, gutter), (left + 2, end[1]), end)
        self.picture.lines.append(Line(points, "next"))

    def _put(self, part: Node | Parallel, x: float, y: float) -> None:
        own = self._own(part)
        if isinstance(part, Node):
            self.picture.boxes.append(Box(x, y, own.width, own.height, part))
        else:
            self._put_lanes(part, x, y, own)
        at = y + own.height
        for hung in part.hung:
            at += BELOW
            self._put_hung(hung, x, y + own.height, at)
            at += self.room_of_series(hung.series).height

    def _put_lanes(self, part: Parallel, x: float, y: float, own: _Room) -> None:
        self.picture.frames.append(Frame(x, y, own.width, own.height, part))
        at = y + HEAD
        for lane in part.lanes:
            room = self.room_of_series(lane)
            end = self.put_series(lane, x + PAD, at)
            self.picture.lines.append(Line(((x, at + room.enter), (x + PAD, at + room.enter)), "next"))
            self.picture.lines.append(Line(((end, at + room.leave), (x + own.width, at + room.leave)), "next"))
            at += room.height + BELOW

    def _put_hung(self, hung: Hung, x: float, top: float, y: float) -> None:
        enter = y + self.room_of_series(hung.series).enter
        stem = x + INDENT / 2
        self.picture.lines.append(Line(((stem, top), (stem, enter), (x + INDENT, enter)), hung.kind))
        self.put_series(hung.series, x + INDENT, y)
