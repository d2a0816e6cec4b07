"""A canvas's rows become its graph again, and the graph a picture: by example, and for every canvas."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.canvas import Signature, chain, chord, group
from liteq.message import Flag, Group, Message
from liteq.monitor.graphs.canvas_graph import canvas_graph
from liteq.monitor.graphs.graph import CELLS, DRAWN, FOLDED, Node, Parallel, Series, cells_of, fold, nodes
from liteq.monitor.graphs.graph_layout import Picture, layout
from liteq.monitor.graphs.graph_svg import as_svg
from liteq.monitor.graphs.graph_text import as_dot, as_mermaid, as_text
from liteq.sending.compile import compile_signature


@dataclass(frozen=True)
class Row:
    id: str
    task: str = "t"
    state: str = "pending"
    awaits: str | None = None
    group_id: str | None = None
    position: int = 0
    parent_id: str | None = None
    flags: int = 0
    retries: int = 0
    created_ms: int = 0
    due_ms: int | None = 0
    started_ms: int | None = None
    finished_ms: int | None = None


class Maker:
    header_errbacks = False

    def row(self, sig: Signature, *, message_id: str, **places: Any) -> Message:
        return Message(id=message_id, task=sig.task, payload=b"", **places)

    def overrides(self, name: str) -> bool:
        return False

    def overridden(self, sig: Signature) -> Signature:
        return sig


def t(name: str) -> Signature:
    return Signature(name, immutable=True)


def sent(sig: Any, **more: Any) -> tuple[list[Row], list[Group]]:
    batch = compile_signature(sig, Maker(), **more).batch  # type: ignore[arg-type]
    rows = [
        Row(m.id, m.task, "blocked" if m.awaits else "pending", m.awaits, m.group_id, m.position, m.parent_id, m.flags)
        for m in batch.messages
    ]
    return rows, batch.groups


def graph(sig: Any) -> Series:
    return canvas_graph(*sent(sig))


def shape(series: Series) -> str:
    return " > ".join(map(shape_of, series.parts))


def shape_of(part: Node | Parallel) -> str:
    own = part.name if isinstance(part, Node) else f"({' | '.join(map(shape, part.lanes))})"
    return own + "".join(f"[{one.kind}: {shape(one.series)}]" for one in part.hung)


@pytest.mark.parametrize(
    ("sig", "expected"),
    [
        (t("a"), "a"),
        (t("a") | t("b") | t("c"), "a > b > c"),
        (group(t("a"), t("b")), "(a | b)"),
        (chord([t("a"), t("b")], t("c")), "(a | b) > c"),
        (t("x") | group(t("a"), t("b")) | t("y"), "x > (a | b) > y"),
        (group(t("a") | t("b"), t("c")), "(a > b | c)"),
        (t("x") | group(t("d"), group(t("a"), t("b")) | t("c")), "x > (d | (a | b) > c)"),
        (t("x") | group(group(t("a"), t("b")) | t("c"), t("d")), "x > ((a | b) > c | d)"),
        (group(t("x") | group(t("a"), t("b")), t("c")), "(x > (a | b) | c)"),
        (
            chord([chord([t("a"), t("b")], t("c")), t("x") | chord([t("d"), t("e")], t("f"))], t("g")),
            "((a | b) > c | x > (d | e) > f) > g",
        ),
        (chain(group(t("a"), t("b")), group(t("c"), t("d")), t("e")), "(a | b) > (c | d) > e"),
    ],
)
def test_rows_become_the_canvas_again(sig, expected):
    assert shape(graph(sig)) == expected


def test_callbacks_and_errbacks_hang_below_what_they_await():
    sig = chain(t("a"), t("b"))
    sig.link(t("then"))
    sig.link_error(t("oops"))
    assert shape(graph(sig)) == "a[errback: oops] > b[callback: then][errback: oops]"


def test_what_a_task_sends_hangs_below_it():
    rows, groups = sent(t("a") | t("b"))
    parent = rows[0].id
    more, groups_too = sent(chord([t("c"), t("d")], t("e")), parent_id=parent)
    assert shape(canvas_graph([*rows, *more], [*groups, *groups_too])) == "a[child: (c | d) > e] > b"


def test_a_replaced_task_has_its_replacement_below_it_and_keeps_its_place():
    rows, _ = sent(t("a") | t("b") | t("c"))
    more, _ = sent(t("d") | t("e"), parent_id=rows[1].id)
    rows[1] = replace(rows[1], flags=rows[1].flags | Flag.ALIAS, awaits=more[-1].id)
    more = [replace(row, created_ms=5) for row in more]
    assert shape(canvas_graph([*rows, *more])) == "a > b[replaced: d > e] > c"


def test_a_task_that_sends_itself_for_ever_is_no_tower():
    rows = [Row(f"m{n}", parent_id=f"m{n - 1}" if n else None, created_ms=n) for n in range(10_000)]
    series = canvas_graph(rows)
    found = list(nodes(series))
    assert sum(node.count for node in found) == 10_000
    assert len(found) < 20


def test_rows_that_await_each_other_are_shown_all_the_same():
    rows = [Row("a", awaits="b"), Row("b", awaits="a"), Row("c", parent_id="d"), Row("d", parent_id="c")]
    assert sorted(node.id or "" for node in nodes(canvas_graph(rows))) == ["a", "b", "c", "d"]


def test_a_group_of_which_some_are_missing_is_still_one():
    rows, groups = sent(chord([t("a"), t("b"), t("c")], t("d")))
    assert shape(canvas_graph(rows[1:], groups)) == "(b | c) > d"


# -- folding -----------------------------------------------------------------------------------------------------------


def big(n: int, **states: str) -> Series:
    rows, groups = sent(t("fetch") | group(t("scan") for _ in range(n)) | t("merge"))
    rows = [
        replace(row, state=states.get(f"m{row.position}", "succeeded")) if row.task == "scan" else row for row in rows
    ]
    return canvas_graph(rows, groups)


def test_twelve_members_stand_one_by_one_and_thirteen_are_a_strip():
    assert len(list(nodes(fold(big(FOLDED))))) == FOLDED + 2
    assert [node.label for node in nodes(fold(big(FOLDED + 1)))] == ["fetch", "scan × 13", "merge"]


def test_the_worst_state_of_a_cell_wins():
    strip = list(nodes(fold(big(10_000, m777="dead", m9_999="leased", m9999="leased"))))[1]
    assert len(strip.cells) == CELLS
    assert sum(cell.n for cell in strip.cells) == 10_000
    assert [i for i, cell in enumerate(strip.cells) if cell.status == "dead"] == [777 * CELLS // 10_000]
    assert strip.cells[-1].status == "leased"
    assert strip.detail == "1 dead, 1 leased, 9,998 succeeded"


def test_a_picture_costs_the_same_for_each_of_its_members():
    few, many = (counted_calls(*sent(chord([t("a") | t("b") for _ in range(n)], t("c")))) for n in (500, 5_000))
    assert many < 11 * few, "ten times as many: ten times the work, with no square in it"
    assert many < 10_000 * 60, "half a second"


def counted_calls(rows, groups):
    """How many calls of functions a picture takes: its work, measured alike on any machine."""
    calls = 0

    def count(_frame, event, _arg):
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        svg = as_svg(canvas_graph(rows, groups))
    finally:
        sys.setprofile(before)
    assert len(svg) < 20_000
    return calls


@given(st.lists(st.sampled_from(["dead", "leased", "pending", "succeeded"]), max_size=1_000))
def test_no_member_gets_lost_in_a_strip(statuses):
    cells = cells_of(statuses)
    assert sum(cell.n for cell in cells) == len(statuses)
    assert len(cells) == min(len(statuses), CELLS)
    assert {cell.status for cell in cells} >= ({"dead"} & set(statuses))


# -- for every canvas --------------------------------------------------------------------------------------------------

TASKS = st.sampled_from("abcd").map(t)


def composed(parts: st.SearchStrategy[Signature]) -> st.SearchStrategy[Signature]:
    some = st.lists(parts, min_size=1, max_size=4)
    return st.one_of(
        some.map(group), some.map(lambda them: chain(*them)), st.builds(chord, some, parts),
        st.builds(lambda left, right: left | right, parts, parts),
        st.builds(lambda n, part: group(part.clone() for _ in range(n)), st.integers(13, 40), parts),
    )  # fmt: skip


CANVASES = st.recursive(TASKS, composed, max_leaves=20)
HOSTILE = st.text(alphabet="<>&\"'/]-`\x00\x1b\n\u202ea ", max_size=40)


@settings(max_examples=60, deadline=None)
@given(CANVASES)
def test_every_row_is_in_the_graph_once(sig):
    rows, groups = sent(sig)
    found = Counter(node.id for node in nodes(canvas_graph(rows, groups)))
    assert found == Counter(row.id for row in rows)


@settings(max_examples=60, deadline=None)
@given(CANVASES, st.data())
def test_rows_of_which_some_are_gone_are_in_the_graph_once(sig, data):
    rows, groups = sent(sig)
    kept = data.draw(st.lists(st.sampled_from(rows), unique=True))
    kept.sort(key=rows.index)
    some = data.draw(st.lists(st.sampled_from(groups), unique_by=lambda one: one.id)) if groups else []
    found = Counter(node.id for node in nodes(canvas_graph(kept, some)))
    assert found == Counter(row.id for row in kept)


@settings(max_examples=60, deadline=None)
@given(CANVASES)
def test_no_two_boxes_overlap_and_all_are_inside(sig):
    rows, groups = sent(sig)
    folded = fold(canvas_graph(rows, groups))
    picture = layout(folded)
    assert len(picture.boxes) == len(list(nodes(folded))) <= DRAWN
    for i, one in enumerate(picture.boxes):
        assert 0 <= one.x <= one.x + one.width <= picture.width
        assert 0 <= one.y <= one.y + one.height <= picture.height
        assert not any(overlap(one, other) for other in picture.boxes[i + 1 :])
    for line in picture.lines:
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points)
    assert_frames(picture)


def overlap(a: Any, b: Any) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def within(a: Any, b: Any) -> bool:
    return b.x <= a.x and a.x + a.width <= b.x + b.width and b.y <= a.y and a.y + a.height <= b.y + b.height


def assert_frames(picture: Picture) -> None:
    for frame in picture.frames:
        members = {id(node) for lane in frame.part.lanes for node in nodes(lane)}
        for box in picture.boxes:
            assert within(box, frame) if id(box.node) in members else not overlap(box, frame) or beneath(box, frame)


def beneath(box: Any, frame: Any) -> bool:
    return id(box.node) in {id(node) for hung in frame.part.hung for node in nodes(hung.series)}


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=30), HOSTILE)
def test_text_of_others_stays_text(names, title):
    series = Series([Node(n, "", name, name, detail=name, id=name) for n, name in enumerate(names)])
    root = ET.fromstring(as_svg(series, title, lambda node: f"/tasks/{node.id}"))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= set(TAGS)
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or name == "style"]
    assert as_mermaid(series).count('"') == 2 * len(list(nodes(series)))
    assert unquoted(as_dot(series, title)).isascii()
    assert "\x1b" not in as_text(series)


TAGS = ("svg", "title", "g", "rect", "text", "path", "a")


def unquoted(dot: str) -> str:
    return "".join(outside(dot))


def outside(dot: str) -> Iterator[str]:
    """The letters of a digraph that are in no quoted string."""
    inside = escaped = False
    for letter in dot:
        if escaped:
            escaped = False
        elif inside and letter == "\\":
            escaped = True
        elif letter == '"':
            inside = not inside
        elif not inside:
            yield letter
    assert not inside, "a quoted string has no end"
