"""The Gantt chart, the form of a schema and the comparison, as pure functions: by example, and for whatever comes."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liteq.monitor.graphs.graph import Hung, Node, Parallel, Series, Times
from liteq_dashboard.acts.compare import differences
from liteq_dashboard.drawn.gantt import FOLD, LABELS, MOST, WIDTH, Attempt, Bar, as_svg, chart, lanes, scale
from liteq_dashboard.drawn.schema_form import Wrong, data_of, fields

HOUR = 3_600_000
NOW = 1_000 * HOUR


def node(name: str, status: str = "succeeded", *times: int | None, **more: Any) -> Node:
    return Node(-1, "", name, status, id=name, times=Times(*times), **more)


# -- lanes -------------------------------------------------------------------------------------------------------------


def test_a_lane_waits_and_runs():
    found = next(lanes(Series([node("a", "succeeded", 0, 300, 1_100)]), NOW))
    assert [(bar.kind, bar.from_ms, bar.to_ms) for bar in found.bars] == [("wait", 0, 300), ("run", 300, 1_100)]
    assert found.took_s == 1.1


def test_between_two_attempts_is_a_gap():
    tried = {"a": [Attempt(300, 1_100, "retried"), Attempt(5_100, 6_000, "retried")]}
    found = next(lanes(Series([node("a", "succeeded", 0, 22_000, 23_000)]), NOW, tried))
    assert [bar.kind for bar in found.bars] == ["wait", "run", "gap", "run", "gap", "run"]
    assert [bar.status for bar in found.bars if bar.kind == "run"] == ["retried", "retried", "succeeded"]


def test_the_last_attempt_is_not_drawn_twice():
    tried = {"a": [Attempt(300, 1_100, "retried"), Attempt(5_100, 6_000, "failed")]}
    found = next(lanes(Series([node("a", "dead", 0, 5_100, 6_000)]), NOW, tried))
    assert [bar.kind for bar in found.bars] == ["wait", "run", "gap", "run"]


def test_what_runs_ends_now():
    found = next(lanes(Series([node("a", "leased", NOW - 5_000, NOW - 2_000, None)]), NOW))
    assert found.bars[-1].to_ms == NOW


def test_a_failure_is_a_cause_where_nothing_below_it_failed():
    child = Hung("child", Series([node("inner", "dead")]))
    series = Series([node("a", "failed", hung=[child]), node("b", "upstream_failed"), node("c", "dead")])
    assert [lane.label for lane in lanes(series, NOW) if lane.is_cause] == ["inner", "c"]


def test_the_frame_of_a_failed_run_is_no_cause():
    run = [Node(0, "run", "order", "failed"), Node(1, "step", "pay", "failed"), Node(-1, "run", "end", "failed")]
    assert [lane.label for lane in lanes(Series([*run]), NOW) if lane.is_cause] == ["pay"]


def test_more_lanes_than_can_be_drawn_are_a_number():
    found = chart(Series([node(f"n{n}") for n in range(MOST + 7)]), NOW)
    assert (len(found.lanes), found.left_out) == (MOST, 7)


# -- the scale ---------------------------------------------------------------------------------------------------------


def test_three_hours_of_nothing_are_folded_and_labelled():
    series = Series([node("a", "succeeded", 0, 0, 1_000), node("b", "succeeded", 0, 3 * HOUR, 3 * HOUR + 1_000)])
    found = chart(series, NOW)
    folds = [one for one in found.scale.stretches if one.idle]
    assert [(one.from_ms, one.to_ms, one.width) for one in folds] == [(1_000, 3 * HOUR, FOLD)]
    assert "2 h 59 min idle" in as_svg(found, "x")


BARS = st.lists(
    st.builds(
        lambda kind, start, length: Bar(kind, start, start + length, "succeeded"),
        st.sampled_from(["wait", "run", "gap"]), st.integers(0, 500 * HOUR), st.integers(0, 5 * HOUR),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(BARS, st.lists(st.integers(0, 600 * HOUR), min_size=2, max_size=20))
def test_time_goes_from_left_to_right_and_stays_inside(bars, times):
    found = scale(bars)
    xs = [found.x(ms) for ms in sorted(times)]
    assert xs == sorted(xs)
    assert all(-0.01 <= x <= WIDTH + 0.01 for x in xs)
    for one, other in zip(found.stretches, found.stretches[1:], strict=False):
        assert one.to_ms == other.from_ms
        assert one.x + one.width == pytest.approx(other.x)


STATUSES = st.sampled_from(["succeeded", "dead", "leased", "blocked", "odd <b>"])
TIMES = st.builds(Times, *[st.none() | st.integers(0, 90 * HOUR)] * 3)
NODES = st.builds(
    lambda name, status, times: Node(-1, "", name, status, id=name, times=times),
    st.text(alphabet='<>&"\x00\x1b a', max_size=12), STATUSES, TIMES,
)  # fmt: skip
GRAPHS = st.recursive(
    st.lists(NODES, min_size=1, max_size=3).map(Series),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda lanes: Series([Parallel(lanes)])),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(GRAPHS)
def test_a_chart_has_a_line_for_each_node_and_only_text_of_others(series):
    found = chart(series, NOW)
    root = ET.fromstring(as_svg(found, "<x>"))
    height, width = float(root.get("height", "0")), float(root.get("width", "0"))
    assert len(root.findall("{*}g")) == len(found.lanes)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "title", "g", "rect", "text", "path"}
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        x, y, wide, high = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
        assert LABELS <= x
        assert x + wide <= width + 0.1
        assert y + high <= height


# -- the form ----------------------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "required": ["amount", "how"],
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "title": "Amount", "description": "In cents"},
        "share": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "how": {"$ref": "#/$defs/How"},
        "urgent": {"type": "boolean", "default": True},
        "note": {"type": "string", "maxLength": 500},
        "day": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "more": {"type": "object"},
    },
    "$defs": {"How": {"enum": ["card", "wire"], "type": "string"}},
}


def test_each_property_has_the_field_that_fits():
    found = {one.name: (one.kind, one.input, one.required) for one in fields(SCHEMA)}
    assert found == {
        "amount": ("integer", "number", True), "share": ("number", "number", False), "how": ("choice", "text", True),
        "urgent": ("yes", "checkbox", False), "note": ("long", "text", False), "day": ("text", "date", False),
        "tags": ("several", "text", False), "more": ("json", "text", False),
    }  # fmt: skip


def sent(**values: Any) -> Any:
    return data_of(SCHEMA, lambda name: [values[name]] if name in values else [])


def test_what_is_sent_becomes_the_data():
    assert sent(amount="12", how='"card"', urgent="true", share="0.5", tags='"a"', more='{"x": 1}') == {
        "amount": 12, "how": "card", "urgent": True, "share": 0.5, "tags": ["a"], "more": {"x": 1},
    }  # fmt: skip
    assert sent(amount="1", how='"wire"') == {"amount": 1, "how": "wire", "urgent": False, "tags": []}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"how": '"card"'}, "amount"), ({"amount": "1.5", "how": '"card"'}, "amount"), ({"amount": "1"}, "how"),
        ({"amount": "1", "how": "card"}, "how"), ({"amount": "1", "how": '"card"', "share": "nan"}, "share"),
        ({"amount": "1", "how": '"card"', "more": "{"}, "more"),
        ({"amount": "1", "how": '"card"', "tags": '"c"'}, "tags"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_field(values, field):
    with pytest.raises(Wrong) as caught:
        sent(**values)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "at"),
    [("2026-07-01T12:30", "2026-07-01T12:30:00+02:00"), ("2026-07-01T12:30:05Z", "2026-07-01T12:30:05+00:00")],
)
def test_a_time_has_a_zone(text, at):
    schema = {"type": "string", "format": "date-time"}
    assert data_of(schema, lambda _: [text], ZoneInfo("Europe/Rome")) == at
    with pytest.raises(Wrong, match="a day and a time"):
        data_of(schema, lambda _: ["tomorrow"])


def test_a_schema_that_is_no_object_is_one_field():
    assert data_of({"type": "integer"}, lambda name: ["7"] if name == "data" else []) == 7
    assert data_of(None, lambda _: []) is None
    assert data_of({"type": "array"}, lambda _: [f"[{10**30}]"]) == [10**30]
    one = {"type": "object", "properties": {"data": {"type": "string"}}}
    assert data_of(one, lambda _: ["x"]) == {"data": "x"}


@pytest.mark.parametrize("kinds", [["integer", "null"], ["integer", "string", "null"]])
def test_a_schema_that_takes_null_may_be_left_empty(kinds):
    assert data_of({"anyOf": [{"type": kind} for kind in kinds]}, lambda _: [""]) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "properties", "anyOf", "$ref", "$defs", "enum", "items", "title", "default", "required", "a", "object"]
    ), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(JSON, st.text(max_size=8))
def test_whatever_stands_as_schema_gives_a_form(schema, text):
    for one in fields(schema):
        assert all(isinstance(one.shown(choice), str) for choice in one.choices)
    try:
        found = data_of(schema, lambda _: [text])
    except Wrong:
        return
    orjson.dumps(found)


# -- the comparison ----------------------------------------------------------------------------------------------------


def test_only_what_differs_is_told_by_its_name():
    mine = {"queue": "mail", "worker": "w2", "args": [77], "kwargs": {"amount": "129.0", "card": "***", "to": {"a": 1}}}
    good = {"queue": "mail", "worker": "w1", "args": [77], "kwargs": {"amount": 129.0, "card": "***", "to": {"a": 2}}}
    assert list(differences(mine, good)) == [
        ("worker", '"w2"', '"w1"'), ("amount", '"129.0"', "129.0"), ("to.a", "1", "2"),
    ]  # fmt: skip


def test_an_argument_that_is_not_there_says_so():
    assert list(differences({"args": [1, 2]}, {"args": [1]})) == [("argument 1", "2", "(not given)")]
    assert list(differences({"kwargs": {}}, {"kwargs": {"a": None}})) == [("a", "(not given)", "-")]
