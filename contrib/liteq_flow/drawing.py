"""A flow as a graph: for Mermaid, for Graphviz, or drawn as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from liteq_flow.model import Action, Event, Flow, FlowFile, Foreach, Nothing, Ours, Run, Step

__all__ = ["FORMATS", "as_dot", "as_mermaid", "as_svg"]

WIDTH, HEIGHT, GAP, PER_CHARACTER, LONGEST = 120, 34, 28, 7, 40


@dataclass(frozen=True, slots=True)
class _Box:
    key: str
    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Graph:
    """The boxes of a flow, or of a foreach, and the arrows between them."""

    title: str
    boxes: tuple[_Box, ...]
    arrows: tuple[tuple[str, str, str], ...]
    """From, to, and what is written on it."""
    inside: tuple[_Graph, ...] = ()


def _kind(step: Step) -> str:
    match step.do:
        case Run():
            return "run"
        case Action(name=name):
            return name
        case Ours(kind=kind, name=name):
            return f"{kind} {name}"
        case Event(name=name):
            return f"event {name}"
        case Foreach():
            return "foreach"
        case Nothing():
            return "output"


def _graph(title: str, steps: tuple[Step, ...], prefix: str) -> _Graph:
    keys = {step.id: f"{prefix}{index}" for index, step in enumerate(steps)}
    boxes: list[_Box] = []
    arrows: list[tuple[str, str, str]] = []
    inside: list[_Graph] = []
    for step in steps:
        boxes.append(_Box(keys[step.id], step.name[:LONGEST], _kind(step)))
        arrows += [(keys[before], keys[step.id], _route(steps, before, step.id)) for before in step.depends]
        if isinstance(step.do, Foreach):
            inside.append(_graph(f"{step.name}: for each", step.do.steps, f"{keys[step.id]}_"))
    return _Graph(title, tuple(boxes), tuple(arrows), tuple(inside))


def _route(steps: tuple[Step, ...], before: str, id_: str) -> str:
    """The values for which a router chooses a step."""
    do = next(step.do for step in steps if step.id == before)
    if not isinstance(do, Action) or do.name != "router.route":
        return ""
    return ", ".join(value for value, targets in do.arguments["routes"].items() if id_ in targets)


def _graphs(file: FlowFile) -> Iterator[_Graph]:
    for number, flow in enumerate(file.flows):
        graph = _graph(flow.name, flow.steps, f"f{number}_")
        yield graph
        if flow.handlers:
            yield _handlers(flow, f"f{number}_h")


def _handlers(flow: Flow, prefix: str) -> _Graph:
    boxes = tuple(
        _Box(f"{prefix}{index}", f"on {name}", _kind(step)) for index, (name, step) in enumerate(flow.handlers.items())
    )
    return _Graph(f"{flow.name}: handlers", boxes, ())


# -- Mermaid and Graphviz --------------------------------------------------------------------------------------------


def as_mermaid(file: FlowFile) -> str:
    """For Mermaid, which pages of documentation draw."""
    lines = ["flowchart TD"]
    for number, graph in enumerate(_graphs(file)):
        lines += _mermaid(graph, f"g{number}")
    return "\n".join(lines) + "\n"


def _mermaid(graph: _Graph, key: str) -> Iterator[str]:
    yield f"  subgraph {key} [{_quoted(graph.title)}]"
    for box in graph.boxes:
        yield f"    {box.key}[{_quoted(f'{box.label} ({box.kind})')}]"
    for start, end, text in graph.arrows:
        yield f"    {start} -->{f'|{_quoted(text)}|' if text else ''} {end}"
    yield "  end"
    for number, one in enumerate(graph.inside):
        yield from _mermaid(one, f"{key}_{number}")


def _quoted(text: str) -> str:
    """A label of Mermaid's: it knows `#name;` and no backslash."""
    plain = " ".join(text.split()).replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;")
    return f'"{plain.replace(">", "#gt;")}"'


def as_dot(file: FlowFile) -> str:
    """For Graphviz."""
    lines = ["digraph flow {", "  node [shape=box, style=rounded, fontname=sans];"]
    for number, graph in enumerate(_graphs(file)):
        lines += _dot(graph, f"cluster_{number}")
    return "\n".join([*lines, "}"]) + "\n"


def _dot(graph: _Graph, key: str) -> Iterator[str]:
    yield f"  subgraph {key} {{"
    yield f"    label={_text(graph.title)};"
    for box in graph.boxes:
        yield f"    {box.key} [label={_text(box.label)}, tooltip={_text(box.kind)}];"
    for start, end, text in graph.arrows:
        yield f"    {start} -> {end}{f' [label={_text(text)}]' if text else ''};"
    yield "  }"
    for number, one in enumerate(graph.inside):
        yield from _dot(one, f"{key}_{number}")


def _text(text: str) -> str:
    plain = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'


# -- SVG -------------------------------------------------------------------------------------------------------------


def as_svg(file: FlowFile) -> str:
    """A drawing: each step below those that it waits for."""
    parts: list[str] = []
    width, y = 0.0, float(GAP)
    for graph in _flat(file):
        drawn, wide, y = _svg(graph, y)
        parts += drawn
        width = max(width, wide)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + GAP:g}" height="{y:g}" '
        f'viewBox="0 0 {width + GAP:g} {y:g}" font-family="sans-serif" font-size="12">'
    )
    marker = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#667"/></marker></defs>'
    )
    return "\n".join([head, f"<title>{escape(file.flow.name)}</title>", marker, *parts, "</svg>"]) + "\n"


def _flat(file: FlowFile) -> Iterator[_Graph]:
    waiting = list(_graphs(file))
    while waiting:
        graph = waiting.pop(0)
        yield graph
        waiting = [*graph.inside, *waiting]


def _rows(graph: _Graph) -> list[list[_Box]]:
    """The boxes in rows: each one row below the lowest of those before it."""
    row: dict[str, int] = {box.key: 0 for box in graph.boxes}
    for _turn in graph.boxes:  # no cycle: after as many turns as there are boxes nothing moves
        moved = False
        for start, end, _ in graph.arrows:
            if row[end] <= row[start]:
                row[end] = row[start] + 1
                moved = True
        if not moved:
            break
    rows: list[list[_Box]] = [[] for _ in range(max(row.values(), default=0) + 1)]
    for box in graph.boxes:
        rows[row[box.key]].append(box)
    return rows


def _svg(graph: _Graph, top: float) -> tuple[list[str], float, float]:
    """The parts of one graph, its width, and where the next begins."""
    parts = [f'<text x="{GAP}" y="{top:g}" font-weight="bold">{escape(graph.title)}</text>']
    places: dict[str, tuple[float, float, float]] = {}
    y, width = top + 14, 0.0
    for boxes in _rows(graph):
        x = float(GAP)
        for box in boxes:
            wide = max(WIDTH, PER_CHARACTER * len(box.label) + 20)
            places[box.key] = (x, y, wide)
            parts += [
                f'<g><title>{escape(box.kind)}</title><rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{HEIGHT}"',
                f' rx="6" fill="#eef" stroke="#667"/><text x="{x + wide / 2:g}" y="{y + HEIGHT / 2 + 4:g}"',
                f' text-anchor="middle">{escape(box.label)}</text></g>',
            ]
            x += wide + GAP
        width = max(width, x)
        y += HEIGHT + GAP
    for start, end, text in graph.arrows:
        (x1, y1, w1), (x2, y2, w2) = places[start], places[end]
        ends = (x1 + w1 / 2, y1 + HEIGHT, x2 + w2 / 2, y2)
        middle = (ends[1] + ends[3]) / 2
        parts.append(
            f'<path d="M{ends[0]:g} {ends[1]:g}C{ends[0]:g} {middle:g} {ends[2]:g} {middle:g} {ends[2]:g} {ends[3]:g}" '
            'fill="none" stroke="#667" marker-end="url(#arrow)"/>'
        )
        if text:
            parts.append(f'<text x="{ends[2] + 4:g}" y="{ends[3] - 6:g}" fill="#667">{escape(text)}</text>')
    return parts, width, y + GAP


FORMATS = {"mermaid": as_mermaid, "dot": as_dot, "svg": as_svg}
