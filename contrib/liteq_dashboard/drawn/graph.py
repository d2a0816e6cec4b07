"""The graph of a workflow for pages: drawn with links, and as files to be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from markupsafe import Markup

from liteq.monitor.graphs.graph import Node, Parallel, Series, title
from liteq.monitor.graphs.graph_svg import as_svg
from liteq.monitor.graphs.graph_text import as_dot, as_mermaid
from liteq.monitor.runs.workflows import Workflow
from liteq_dashboard.http import Response
from liteq_dashboard.links import link

__all__ = ["FORMATS", "Item", "attachment", "drawing", "items", "node_link"]

FORMATS: Mapping[str, tuple[str, Callable[[Workflow], str]]] = {
    "svg": ("image/svg+xml", lambda found: as_svg(found.series, f"{found.name} {found.id}")),
    "mermaid": ("text/vnd.mermaid; charset=utf-8", lambda found: as_mermaid(found.series)),
    "dot": ("text/vnd.graphviz; charset=utf-8", lambda found: as_dot(found.series, found.id)),
}
ENDINGS = {"svg": "svg", "mermaid": "mmd", "dot": "dot"}


def node_link(base: str, of: str) -> Callable[[Node], str]:
    """The page of a node in the workflow `of`: a task's own, of a strip its members in the table."""

    def found(node: Node) -> str:
        if node.cells:
            return link(base, "workflows", of, view="table", group=node.id)
        if node.id is None or (node.kind == "run" and node.n == 0):
            return ""
        return link(base, "workflows" if node.kind == "run" else "tasks", node.id)

    return found


def drawing(base: str, found: Workflow) -> Markup:
    """The graph as SVG inside a page. The list beside it is for those who do not see it."""
    svg = as_svg(found.series, found.name, node_link(base, found.id))
    return Markup(svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1))  # noqa: S704 - escaped by graph_svg


def attachment(found: Workflow, form: str) -> Response:
    """The graph as a file: svg, mermaid or dot. A browser keeps it and shows nothing."""
    kind, write = FORMATS[form]
    headers = {
        "content-type": kind,
        "content-disposition": f'attachment; filename="workflow.{ENDINGS[form]}"',
        "x-content-type-options": "nosniff",
    }
    return Response(200, headers, write(found).encode("utf-8", "replace"))


class Item(NamedTuple):
    """A line of the list that says what the drawing shows; `lanes` and `below` are lists in it."""

    text: str
    status: str
    href: str
    lanes: list[list[Item]]
    below: list[tuple[str, list[Item]]]
    size: int = 0  # of a group


def items(series: Series, href: Callable[[Node], str]) -> list[Item]:
    """A folded graph as nested lists."""
    return [_item(part, href) for part in series.parts]


def _item(part: Node | Parallel, href: Callable[[Node], str]) -> Item:
    below = [(hung.kind, items(hung.series, href)) for hung in part.hung]
    if isinstance(part, Node):
        return Item(title(part), part.status, href(part), [], below)
    lanes = [items(lane, href) for lane in part.lanes]
    return Item("", "", "", lanes, below, max(part.size, len(lanes)) if part.id is not None else 0)
