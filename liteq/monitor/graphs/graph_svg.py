"""The graph of a workflow as SVG. No script and no style is in it: a page gives its colours by the classes.

All text goes through `text_of`, and nothing else of the file gets into the markup: a status that is not known has the
look of one that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from liteq.monitor.graphs.graph import MARKS, Node, Series, fold, title
from liteq.monitor.graphs.graph_layout import Box, Frame, Line, Picture, layout
from liteq.monitor.graphs.graph_text import COLOURS, look
from liteq.utils.text import printable

__all__ = ["Link", "as_svg", "cut", "text_of"]

LETTERS = 6.9  # pixels that a letter of a label takes
LINE = "#555"
LINES = {
    "next": "", "child": ' stroke-dasharray="5 4"', "replaced": ' stroke-dasharray="1 3"', "callback": "",
    "errback": "",
}  # fmt: skip

STRIP = {
    "done": "#3d9a57", "failed": "#c62828", "upstream": "#d9a0a0", "running": "#2f6fbd", "late": "#c98a1b",
    "stopped": "#8a8a8a", "waits": "#c9c9c9",
}  # fmt: skip

Link = Callable[[Node], str]
"""The address of a node's page; "" where it has none."""


def as_svg(series: Series, title: str = "A workflow", link: Link | None = None) -> str:
    """The graph, folded, as an SVG document that can stand alone or inside a page."""
    picture = layout(fold(series))
    return drawn(picture, title, link)


def drawn(picture: Picture, title: str, link: Link | None = None) -> str:
    """A picture as SVG."""
    width, height = f"{picture.width:g}", f"{picture.height:g}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'class="graph" font-family="sans-serif" font-size="13">'
    )
    body = [*map(_frame, picture.frames), *map(_line, picture.lines)]
    for box in picture.boxes:
        body += _box(box, link(box.node) if link is not None else "")
    return "\n".join([head, f"<title>{text_of(title)}</title>", *body, "</svg>", ""])


def text_of(text: str) -> str:
    """`text` as text of SVG or HTML: escaped, and without what cannot be printed."""
    return escape(printable(text))


def cut(text: str, width: float) -> str:
    """`text` in at most `width` pixels."""
    letters = max(1, int(width / LETTERS))
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _frame(frame: Frame) -> str:
    part = frame.part
    name = f"group of {max(part.size, len(part.lanes)):,}" if part.id is not None else "side by side"
    return (
        f'<rect class="frame" x="{frame.x:g}" y="{frame.y:g}" width="{frame.width:g}" height="{frame.height:g}" rx="8" '
        f'fill="none" stroke="#999"/>'
        f'<text class="head" x="{frame.x + 10:g}" y="{frame.y + 14:g}" fill="#666" font-size="11">{name}</text>'
    )


def _line(line: Line) -> str:
    path = "M" + "L".join(f"{x:g} {y:g}" for x, y in line.points)
    colour = "#b3261e" if line.kind == "errback" else LINE
    return (
        f'<path class="line {line.kind}" d="{path}" fill="none" stroke="{colour}" stroke-width="1.2"'
        f"{LINES.get(line.kind, '')}/>"
    )


def _box(box: Box, link: str) -> Iterator[str]:
    node, x, y = box.node, box.x, box.y
    kind, mark = look(node.status), MARKS.get(node.status, "")
    number = f"{node.n} " if node.n > 0 else ""
    room = box.width - 20
    label, words = cut(f"{number}{node.label}", room * 0.85), cut(f"{mark} {node.told}", room)
    if link:
        yield f'<a href="{text_of(link)}" tabindex="-1">'
    yield (
        f'<g class="node {kind}"><title>{text_of(title(node))}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" rx="6" fill="{COLOURS[kind]}" '
        f'stroke="{LINE}"/>'
        f'<text x="{x + 10:g}" y="{y + 18:g}" fill="#111" font-weight="bold">{text_of(label)}</text>'
    )
    if node.cells:
        yield from _cells(box)
        y += 18
    yield f'<text x="{x + 10:g}" y="{y + 36:g}" fill="#333" font-size="12">{text_of(words)}</text></g>'
    if link:
        yield "</a>"


def _cells(box: Box) -> Iterator[str]:
    """The strip: a rectangle for each run of cells that look the same, as wide as they are."""
    cells = box.node.cells
    wide = (box.width - 20) / len(cells)
    start = 0
    for i in range(1, len(cells) + 1):
        kind = look(cells[start].status)
        if i < len(cells) and look(cells[i].status) == kind:
            continue
        yield (
            f'<rect class="cell {kind}" x="{box.x + 10 + start * wide:.2f}" y="{box.y + 24:g}" '
            f'width="{(i - start) * wide:.2f}" height="10" fill="{STRIP[kind]}"/>'
        )
        start = i
