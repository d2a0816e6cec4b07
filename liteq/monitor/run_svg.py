"""The graph of a run as SVG: a series goes down, lanes stand side by side. No script and no style is in it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from liteq.monitor.run_graph import COLOURS, MARKS, Node, Parallel, Series
from liteq.utils.text import printable

__all__ = ["as_svg"]

WIDTH, HEIGHT, DOWN, BESIDE, MARGIN = 240, 44, 26, 18, 16
LETTERS = 27  # of a label
LINE = "#555"


class Size(NamedTuple):
    """The room that a part takes, in pixels."""

    width: float
    height: float


def as_svg(series: Series, title: str = "A run") -> str:
    """The graph as an SVG document that can stand alone or inside a page."""
    size = _size(series)
    width, height = size.width + 2 * MARGIN, size.height + 2 * MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="sans-serif" font-size="13">'
    )
    body = _draw(series, MARGIN, MARGIN, size.width)
    return "\n".join([head, f"<title>{_text(title)}</title>", *body, "</svg>", ""])


def _size(part: Node | Parallel | Series) -> Size:
    if isinstance(part, Node):
        return Size(WIDTH, HEIGHT)
    if isinstance(part, Parallel):
        lanes = [_size(lane) for lane in part.lanes]
        return Size(sum(one.width for one in lanes) + BESIDE * (len(lanes) - 1), max(one.height for one in lanes))
    parts = [_size(one) for one in part.parts]
    height = sum(one.height for one in parts) + DOWN * (len(parts) - 1)
    return Size(max((one.width for one in parts), default=WIDTH), height)


def _draw(series: Series, x: float, y: float, width: float) -> Iterator[str]:
    """The parts of a series in the middle of `width`, with a line from each to the next."""
    middle = x + width / 2
    for i, part in enumerate(series.parts):
        size = _size(part)
        if i:
            before = series.parts[i - 1]
            tops, bottoms = _entries(part, middle), _exits(before, middle)
            bar = y - DOWN / 2
            yield from _lines([(at, y - DOWN - lower) for at, lower in bottoms], [(at, y) for at, _ in tops], bar)
        if isinstance(part, Node):
            yield _box(part, middle - WIDTH / 2, y)
        else:
            at = middle - size.width / 2
            for lane in part.lanes:
                wide = _size(lane).width
                yield from _draw(lane, at, y, wide)
                at += wide + BESIDE
        y += size.height + DOWN


def _entries(part: Node | Parallel, middle: float) -> list[tuple[float, float]]:
    return [(at, 0.0) for at, _ in _exits(part, middle)]


def _exits(part: Node | Parallel, middle: float) -> list[tuple[float, float]]:
    """Where a line may leave `part` below: x, and how far that is above the part's lower edge."""
    if isinstance(part, Node):
        return [(middle, 0.0)]
    size = _size(part)
    found, at = [], middle - size.width / 2
    for lane in part.lanes:
        lane_size = _size(lane)
        found.append((at + lane_size.width / 2, size.height - lane_size.height))
        at += lane_size.width + BESIDE
    return found


def _lines(froms: list[tuple[float, float]], tos: list[tuple[float, float]], bar: float) -> Iterator[str]:
    """From each point down to a bar, and from that down to each of the others."""
    xs = [x for x, _ in (*froms, *tos)]
    paths = [f"M{x:g} {y:g}V{bar:g}" for x, y in froms] + [f"M{x:g} {bar:g}V{y:g}" for x, y in tos]
    if max(xs) > min(xs):
        paths.append(f"M{min(xs):g} {bar:g}H{max(xs):g}")
    yield f'<path d="{"".join(paths)}" fill="none" stroke="{LINE}" stroke-width="1.2"/>'


def _box(node: Node, x: float, y: float) -> str:
    number = f"{node.n} " if node.n > 0 else ""
    label = _cut(f"{number}{node.label}")
    words = _cut(f"{MARKS.get(node.status, '')} {node.words}")
    return (
        f"<g><title>{_text(f'{number}{node.label}: {node.words}')}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{COLOURS.get(node.status, "#fff")}" '
        f'stroke="{LINE}"/>'
        f'<text x="{x + 10:g}" y="{y + 18:g}" fill="#111" font-weight="bold">{_text(label)}</text>'
        f'<text x="{x + 10:g}" y="{y + 35:g}" fill="#333" font-size="12">{_text(words)}</text></g>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"


def _text(text: str) -> str:
    return escape(printable(text))
