"""The graph of a workflow as text: an indented list, a flowchart for Mermaid, a digraph for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from liteq.monitor.graphs.graph import LOOKS, MARKS, Node, Parallel, Series
from liteq.utils.text import printable

__all__ = ["COLOURS", "as_dot", "as_mermaid", "as_text"]

COLOURS = {
    "done": "#d5f0dc", "failed": "#f8d3d3", "upstream": "#f3e0e0", "running": "#d3e4f8", "late": "#fbe8c6",
    "stopped": "#e2e2e2", "waits": "#eeeeee",
}  # fmt: skip
# A list of steps speaks of the messages among them as of steps.
_WORDS = {
    "succeeded": "done", "dead": "failed", "upstream failed": "failed", "leased": "running", "pending": "waiting",
    "scheduled": "waiting", "held": "waiting", "blocked": "waiting",
}  # fmt: skip
_KINDS = {"replaced": "replaced by", "callback": "then", "errback": "on failure"}


def look(status: str) -> str:
    """The look of a status: one of `COLOURS`."""
    return LOOKS.get(status, "waits")


# -- a list ----------------------------------------------------------------------------------------------------------


def as_text(series: Series) -> str:
    """The graph as an indented list, a line a node."""
    return "\n".join(_lines(series))


def _lines(series: Series) -> Iterator[str]:
    for part in series.parts:
        lanes = [list(_lines(hung.series)) for hung in part.hung]
        for hung, lines in zip(part.hung, lanes, strict=True):
            if hung.kind in _KINDS:
                lines[:0] = [f"{_KINDS[hung.kind]}:"]
        if isinstance(part, Node):
            number = f"{part.n:>3} " if part.n > 0 else ""
            words = _WORDS.get(part.words, part.words) if part.kind != "run" else part.words
            yield f"{number}{MARKS.get(part.status, '')} {printable(part.label)}  {printable(words)}"
        else:
            lanes = [list(_lines(lane)) for lane in part.lanes] + lanes
        for i, lines in enumerate(lanes):
            last = i == len(lanes) - 1
            for k, line in enumerate(lines):
                edge = "└─ " if last else "├─ "
                yield f"  {edge if k == 0 else '   ' if last else '│  '}{line}"


# -- as Mermaid ------------------------------------------------------------------------------------------------------


def as_mermaid(series: Series) -> str:
    """The graph as a flowchart of Mermaid, from top to bottom. What hangs beside the order has dotted lines."""
    chart = _Chart()
    chart.series(series, [], "-->")
    lines = ["flowchart TD"]
    for name, node in chart.boxes:
        text = f"{_number(node)}{_escaped(node.label)}<br/>{_escaped(node.words)}"
        lines.append(f'  {name}["{text}"]:::{look(node.status)}')
    lines += [f"  {a} {arrow} {b}" for a, arrow, b in chart.edges]
    used = {look(node.status) for _, node in chart.boxes}
    lines += [f"  classDef {one} fill:{COLOURS[one]},stroke:#555,color:#111" for one in COLOURS if one in used]
    return "\n".join(lines)


def _number(node: Node) -> str:
    return f"{node.n} " if node.n > 0 else ""


def _escaped(text: str) -> str:
    """`text` for a quoted label: each character that Mermaid or HTML could take for its own as an entity."""
    return "".join(c if c.isalnum() or c in " _-.,:/×()" else f"#{ord(c)};" for c in printable(text))


class _Chart:
    """Boxes with names, and arrows between them."""

    def __init__(self) -> None:
        self.boxes = list[tuple[str, Node]]()
        self.edges = list[tuple[str, str, str]]()

    def series(self, series: Series, before: list[str], arrow: str) -> list[str]:
        """Add a series that follows the boxes `before`; the boxes at its end."""
        for part in series.parts:
            if isinstance(part, Parallel):
                before = [end for lane in part.lanes for end in self.series(lane, before, arrow)]
            else:
                name = f"n{len(self.boxes)}"
                self.boxes.append((name, part))
                self.edges += [(one, arrow, name) for one in before]
                before = [name]
            arrow = "-->"
            for hung in part.hung:
                self.series(hung.series, before[:1], "-.->")
        return before


# -- as DOT ------------------------------------------------------------------------------------------------------------


def as_dot(series: Series, name: str = "workflow") -> str:
    """The graph as a digraph in the language of Graphviz, from left to right."""
    chart = _Chart()
    chart.series(series, [], "-->")
    lines = [f"digraph {_quoted(name)} {{", '  rankdir=LR; node [shape=box, style="rounded,filled", fontsize=11];']
    for id_, node in chart.boxes:
        label = _quoted(f"{_number(node)}{printable(node.label)}\n{printable(node.words)}")
        lines.append(f"  {id_} [label={label}, fillcolor={_quoted(COLOURS[look(node.status)])}];")
    lines += [f"  {a} -> {b}{' [style=dashed]' if arrow == '-.->' else ''};" for a, arrow, b in chart.edges]
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    r"""`text` as a quoted string of DOT; of its escapes only `\n` is one there."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
