"""The time of a workflow: a lane a part, drawn as SVG by the server. Pure functions over its graph.

Waiting is thin, an attempt is solid, the gap before the next one is dotted. Time in which nothing ran for an hour and
more is folded, and labelled with its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from liteq.monitor.graphs.graph import MARKS, Node, Series, call_name
from liteq.monitor.graphs.graph_svg import STRIP, cut, text_of
from liteq.monitor.graphs.graph_text import look
from liteq.utils.text import span

__all__ = ["Attempt", "Bar", "Chart", "Lane", "Scale", "as_svg", "chart", "lanes", "root_causes"]

MOST = 200  # lanes
IDLE_MS = 3_600_000
LABELS, WIDTH, ROW, TOP, FOLD = 260, 900, 24, 34, 56  # pixels
NARROWEST = 3  # of a bar
TICK = 150  # from one mark of the axis to the next


class Attempt(NamedTuple):
    """One attempt of a message: times in ms; `ended_ms` None while it runs."""

    started_ms: int
    ended_ms: int | None
    outcome: str


class Bar(NamedTuple):
    """A stretch of a lane. `kind`: "wait", "run" or "gap" (between two attempts)."""

    kind: str
    from_ms: int
    to_ms: int
    status: str


class Lane(NamedTuple):
    """A line of the chart. `depth`: how far it hangs below another; `is_cause`: the failure began here."""

    id: str | None
    label: str
    words: str
    status: str
    depth: int
    bars: tuple[Bar, ...]
    is_cause: bool = False

    @property
    def took_s(self) -> float | None:
        """Seconds from its first bar to its last; None where nothing is known of its time."""
        return (self.bars[-1].to_ms - self.bars[0].from_ms) / 1000 if self.bars else None


class Chart(NamedTuple):
    """Lanes over a scale; `left_out`: how many there are beyond."""

    lanes: list[Lane]
    scale: Scale
    left_out: int


# -- lanes ---------------------------------------------------------------------------------------------------------


def lanes(
    series: Series, now_ms: int, attempts: Mapping[str, Sequence[Attempt]] | None = None, depth: int = 0
) -> Iterator[Lane]:
    """A lane for each node of a folded graph, in the order of reading, so that what hangs follows its part."""
    causes = root_causes(series)
    yield from _lanes(series, now_ms, attempts or {}, depth, causes)


def _lanes(
    series: Series, now_ms: int, attempts: Mapping[str, Sequence[Attempt]], depth: int, causes: set[int]
) -> Iterator[Lane]:
    for part in series.parts:
        inner = depth
        if isinstance(part, Node):
            yield _lane(part, now_ms, attempts.get(part.id or "", ()), depth, is_cause=id(part) in causes)
            inner += 1
        else:
            for lane in part.lanes:
                yield from _lanes(lane, now_ms, attempts, depth + 1, causes)
        for hung in part.hung:
            yield from _lanes(hung.series, now_ms, attempts, inner, causes)


def _lane(node: Node, now_ms: int, attempts: Sequence[Attempt], depth: int, *, is_cause: bool) -> Lane:
    label = node.label if node.count > 1 else call_name(node.kind, node.name)
    return Lane(node.id, label, node.told, node.status, depth, tuple(_bars(node, now_ms, attempts)), is_cause)


def _bars(node: Node, now_ms: int, attempts: Sequence[Attempt]) -> Iterator[Bar]:
    ready, started, ended = node.times
    tried = [(one.started_ms, one.ended_ms if one.ended_ms is not None else now_ms, one.outcome) for one in attempts]
    if started is not None and all(started > began for began, _, _ in tried):
        tried.append((started, ended if ended is not None else now_ms, node.status))
    if not tried:
        end = ended if ended is not None else now_ms
        if ready is not None and ready <= end:
            yield Bar("wait", ready, end, node.status)
        return
    first = tried[0][0]
    if ready is not None and ready < first:
        yield Bar("wait", ready, first, "pending")
    before: int | None = None
    for began, over, outcome in tried:
        if before is not None and before < began:
            yield Bar("gap", before, began, "retrying")
        yield Bar("run" if node.kind not in WAITS else "wait", began, max(began, over), outcome)
        before = max(began, over)


WAITS = frozenset({"sleep", "event", "approval", "timer"})


def root_causes(series: Series) -> set[int]:
    """The failed nodes below which nothing failed: the failures of all others follow from these. By identity."""
    found = set[int]()
    _causes(series, found)
    return found


def _causes(series: Series, found: set[int]) -> bool:
    """Whether anything in `series` failed."""
    failed = False
    for part in series.parts:
        below = [_causes(hung.series, found) for hung in part.hung if hung.kind in {"child", "replaced", "steps"}]
        if isinstance(part, Node):
            is_failed = look(part.status) == "failed"
            is_frame = part.kind == "run" and (part.n == 0 or part.name == "end")  # of the run as a whole
            if is_failed and not any(below) and not is_frame:
                found.add(id(part))
            failed |= is_failed or any(below)
        else:
            inside = [_causes(lane, found) for lane in part.lanes]
            failed |= any(inside) or any(below)
    return failed


# -- the scale -----------------------------------------------------------------------------------------------------


class Stretch(NamedTuple):
    """A part of the time and of the width: `idle` is folded."""

    from_ms: int
    to_ms: int
    x: float
    width: float
    idle: bool


class Scale(NamedTuple):
    """Time to pixels: steps of one speed, with folds between them."""

    stretches: tuple[Stretch, ...]

    def x(self, ms: int) -> float:
        """The place of a time; what lies outside is at the edge."""
        for one in self.stretches:
            if ms <= one.to_ms:
                share = (ms - one.from_ms) / max(1, one.to_ms - one.from_ms)
                return one.x + one.width * min(1.0, max(0.0, share))
        last = self.stretches[-1]
        return last.x + last.width


def scale(bars: Iterable[Bar], width: float = WIDTH) -> Scale:
    """The scale over all bars; where nothing runs for `IDLE_MS` and more, it is folded."""
    all_ = list(bars)
    if not all_:
        return Scale((Stretch(0, 1, 0, width, idle=False),))
    start, end = min(one.from_ms for one in all_), max(one.to_ms for one in all_)
    busy = _merged([(one.from_ms, one.to_ms) for one in all_ if one.kind == "run"] + [(start, start), (end, end)])
    folds = [(a, b) for (_, a), (b, _) in pairwise(busy) if b - a >= IDLE_MS]
    most = int(width / 3 / FOLD)  # folds: they take a third of the width at most, the longest first
    folds = sorted(sorted(folds, key=lambda one: one[0] - one[1])[:most])
    pieces = list[tuple[int, int, bool]]()
    at = start
    for a, b in folds:
        pieces += [(at, a, False), (a, b, True)]
        at = b
    pieces.append((at, end, False))
    shown = sum(b - a for a, b, idle in pieces if not idle)
    room = width - FOLD * len(folds)
    found, x = list[Stretch](), 0.0
    for a, b, idle in pieces:
        wide = FOLD if idle else room * (b - a) / shown if shown else room / (len(folds) + 1)
        found.append(Stretch(a, b, x, wide, idle))
        x += wide
    return Scale(tuple(found))


def _merged(times: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged = list[tuple[int, int]]()
    for a, b in sorted(times):
        if merged and a <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], b))
        else:
            merged.append((a, b))
    return merged


# -- the picture ---------------------------------------------------------------------------------------------------


def chart(series: Series, now_ms: int, attempts: Mapping[str, Sequence[Attempt]] | None = None) -> Chart:
    """The lanes of a folded graph and their scale."""
    found = list(lanes(series, now_ms, attempts))
    shown = found[:MOST]
    return Chart(shown, scale(bar for lane in shown for bar in lane.bars), len(found) - len(shown))


def as_svg(found: Chart, title: str) -> str:
    """The chart as an SVG document, for a page or to stand alone."""
    width, height = LABELS + WIDTH + 12, TOP + ROW * max(1, len(found.lanes)) + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'class="gantt" font-family="sans-serif" font-size="12">'
    )
    body = [*_axis(found.scale, height)]
    for n, lane in enumerate(found.lanes):
        body += _row(lane, found.scale, TOP + ROW * n)
    return "\n".join([head, f"<title>{text_of(title)}</title>", *body, "</svg>", ""])


def _axis(scale: Scale, height: float) -> Iterator[str]:
    start = scale.stretches[0].from_ms
    for one in scale.stretches:
        x = LABELS + one.x
        if one.idle:
            label = f"{span((one.to_ms - one.from_ms) / 1000)} idle"
            yield (
                f'<rect class="idle" x="{x:.1f}" y="{TOP - 6}" width="{one.width:.1f}" height="{height - TOP}" '
                f'fill="#8883"/><text class="head" x="{x + one.width / 2:.1f}" y="{TOP - 20}" text-anchor="middle" '
                f'fill="#666" font-size="10">{text_of(label)}</text>'
            )
            continue
        yield f'<path class="tick" d="M{x:.1f} {TOP - 6}V{height - 4}" stroke="#8886"/>'
        label = "0" if one.from_ms == start else f"+{span((one.from_ms - start) / 1000)}"
        yield f'<text class="head" x="{x + 3:.1f}" y="{TOP - 8}" fill="#666" font-size="10">{text_of(label)}</text>'
        yield from _between(one, start, height)
    last = scale.stretches[-1]
    label = f"+{span((last.to_ms - start) / 1000)}"
    x = LABELS + last.x + last.width
    yield (
        f'<text class="head" x="{x:.1f}" y="{TOP - 8}" text-anchor="end" fill="#666" font-size="10">'
        f"{text_of(label)}</text>"
    )


def _between(one: Stretch, start_ms: int, height: float) -> Iterator[str]:
    """The ticks inside a stretch: about one each `TICK` pixels, none near its end."""
    for n in range(1, int(one.width // TICK)):
        x = one.x + TICK * n
        at_ms = one.from_ms + (one.to_ms - one.from_ms) * TICK * n / one.width
        label = f"+{span((at_ms - start_ms) / 1000)}"
        yield (
            f'<path class="tick" d="M{LABELS + x:.1f} {TOP - 6}V{height - 4}" stroke="#8886"/><text class="head" '
            f'x="{LABELS + x + 3:.1f}" y="{TOP - 8}" fill="#666" font-size="10">{text_of(label)}</text>'
        )


def _row(lane: Lane, scale: Scale, y: float) -> Iterator[str]:
    took = f", {span(lane.took_s)}" if lane.took_s is not None else ""
    indent = min(lane.depth, 8) * 12
    label = f"{MARKS.get(lane.status, '')} {lane.label}"
    yield f'<g class="lane {look(lane.status)}"><title>{text_of(f"{lane.label}: {lane.words}{took}")}</title>'
    yield (
        f'<text x="{indent + 4}" y="{y + 16:g}" fill="#222">'
        f"{text_of(cut(label, LABELS - indent - (70 if lane.is_cause else 10)))}</text>"
    )
    if lane.is_cause:
        yield f'<text class="cause" x="{LABELS - 6}" y="{y + 16:g}" text-anchor="end" fill="#b3261e">cause</text>'
    for bar in lane.bars:
        yield _bar(bar, scale, y)
    yield "</g>"


def _bar(bar: Bar, scale: Scale, y: float) -> str:
    x = LABELS + scale.x(bar.from_ms)
    end = LABELS + scale.x(bar.to_ms)
    if bar.kind == "gap":
        return f'<path class="gap" d="M{x:.1f} {y + 12:g}H{end:.1f}" stroke="#888" stroke-dasharray="2 3"/>'
    if bar.kind == "wait":
        return f'<path class="wait" d="M{x:.1f} {y + 12:g}H{end:.1f}" stroke="#888" stroke-width="2"/>'
    kind = look({"retried": "failed", "crashed": "failed", "reaped": "failed"}.get(bar.status, bar.status))
    x = min(x, LABELS + WIDTH - NARROWEST)
    return (
        f'<rect class="cell {kind}" x="{x:.1f}" y="{y + 5:g}" width="{max(NARROWEST, end - x):.1f}" height="14" rx="2" '
        f'fill="{STRIP[kind]}"/>'
    )
