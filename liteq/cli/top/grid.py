"""A table drawn line by line: only cells whose text has changed are drawn anew, and columns keep their width.

Textual's own DataTable renders each cell as a document: at a look a second that took three times as much of a core.
"""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from liteq.cli.top.tables import MOST_ROWS, Column, Line, View

__all__ = ["Grid"]

TICK = Column("", 1)
HEADER = Style(bold=True, underline=True)
CURSOR, CURSOR_AWAY = Style(reverse=True), Style(underline=True)  # with the keys, and without


class Grid(ScrollView, can_focus=True):
    """A table of one view, with a cursor, and ticks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-9999)", show=False),
        Binding("end", "move(9999)", show=False),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(id=view.name)
        self.view = view
        self.ticked: set[str] = set()
        self.changes = 0  # cells that were changed since it was made
        self.columns = (TICK, *view.columns)
        self.starts = (0, *accumulate(column.width + 1 for column in self.columns))
        self.cursor = 0
        self._lines: list[Line] = []
        self._shown: list[tuple[str, ...]] = []
        self._header = self._joined(tuple(_fit(column.title, column) for column in self.columns))

    # -- rows --------------------------------------------------------------------------------------------------------

    @property
    def under_cursor(self) -> str | None:
        """The key of the row under the cursor; None where there is none."""
        return self._lines[self.cursor].key if self.cursor < len(self._lines) else None

    @property
    def chosen(self) -> list[str]:
        """The keys of the ticked rows that are shown; of the one under the cursor where none is ticked."""
        ticked = [line.key for line in self._lines if line.key in self.ticked]
        return ticked or ([] if self.under_cursor is None else [self.under_cursor])

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._lines)

    def tick(self) -> None:
        """Tick the row under the cursor, or take its tick away."""
        key = self.under_cursor
        if key is not None:
            self.ticked ^= {key}
            self.show(self._lines)

    def show(self, lines: list[Line]) -> None:
        """Show these rows, 200 at most; the cursor stays on its row, where that is still there."""
        key, before = self.under_cursor, self._shown
        self._lines = lines[:MOST_ROWS]
        self.ticked &= {line.key for line in self._lines}
        self._shown = [self._cells(line) for line in self._lines]
        for row in range(max(len(before), len(self._shown))):
            if row < len(before) and row < len(self._shown):
                self._change(row, before[row], self._shown[row])
            else:
                self._draw(row)
        if len(before) != len(self._shown):
            self.virtual_size = Size(self.starts[-1], len(self._shown) + 1)
        kept = next((n for n, line in enumerate(self._lines) if line.key == key), self.cursor)
        self._move_to(kept)

    def _cells(self, line: Line) -> tuple[str, ...]:
        tick = "*" if line.key in self.ticked else " "
        return (tick, *(_fit(cell, column) for cell, column in zip(line.cells, self.view.columns, strict=True)))

    def _change(self, row: int, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        for n, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                self.changes += 1
                self._draw(row, n)

    # -- drawing -----------------------------------------------------------------------------------------------------

    def _draw(self, row: int, column: int | None = None) -> None:
        """Have a row, or one cell of it, drawn anew, where it is on the screen."""
        left, top = self.scroll_offset
        x, width = (left, self.size.width) if column is None else (self.starts[column], self.columns[column].width)
        self.refresh(Region(x - left, row + 1 - top, width, 1))

    def _joined(self, cells: tuple[str, ...]) -> str:
        return " ".join(cells)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        row, style = top + y - 1, self.rich_style
        if y == 0:
            shown, style = self._header, style + HEADER
        elif row < len(self._shown):
            shown = self._joined(self._shown[row])
            if row == self.cursor:
                style += CURSOR if self.has_focus else CURSOR_AWAY
        else:
            shown = ""
        width = self.size.width
        strip = Strip([Segment(shown, style)], cell_len(shown))
        return strip.crop_extend(left, left + width, style)

    # -- the cursor --------------------------------------------------------------------------------------------------

    def _move_to(self, row: int) -> None:
        row = max(0, min(row, len(self._lines) - 1))
        if row != self.cursor:
            before, self.cursor = self.cursor, row
            self._draw(before)
            self._draw(row)
        top, rows = self.scroll_offset.y, max(1, self.size.height - 1)
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + rows:
            self.scroll_to(y=row - rows + 1, animate=False)

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self._move_to(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by so many screens."""
        self._move_to(self.cursor + pages * max(1, self.size.height - 2))

    def on_click(self, event: Click) -> None:
        """Move the cursor to the row that was clicked."""
        if event.y > 0:
            self._move_to(self.scroll_offset.y + event.y - 1)

    def on_focus(self) -> None:
        """Show where the keys go."""
        self._draw(self.cursor)

    def on_blur(self) -> None:
        """Show that the keys go elsewhere."""
        self._draw(self.cursor)


def _fit(cell: str, column: Column) -> str:
    """`cell` in exactly the width of its column."""
    width = cell_len(cell)
    if width > column.width:
        return set_cell_size(cell, column.width - 1) + "…"
    room = " " * (column.width - width)
    return room + cell if column.right else cell + room
