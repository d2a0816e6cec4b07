"""Runs as people see them: the graph as text, for Mermaid and as SVG, the timeline; from hand-made records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from liteq.message import StepRow
from liteq.monitor.graphs.graph_svg import as_svg
from liteq.monitor.graphs.graph_text import as_mermaid, as_text
from liteq.monitor.graphs.run_graph import graph
from liteq.monitor.graphs.run_timeline import MOST, bars
from liteq.storage.runs.records import RunRecord, RunStep

START = 1_000_000


def run(status: str = "running", **fields: Any) -> RunRecord:
    made = RunRecord(
        number=1, id="order-7", name="shop.order", status=status, version="1", gen=0, queue="celery", priority=0,
        payload=b"[[],{}]", options=None, result=None, error=None, due_ms=None, parent_id=None, root_id=None,
        forked_from=None, is_step=False, asked=None, reason="", fingerprint=None, now=None, created_ms=START,
        started_ms=START, finished_ms=None, deadline_ms=None,
    )  # fmt: skip
    return made._replace(**fields)


def history(*calls: tuple[str, str, str, str] | tuple[str, str, str, str, dict[str, Any]]) -> list[RunStep]:
    """Steps by (scope, kind, name, status), each a second long, one after another."""
    found, places = [], dict[str, int]()
    for n, (scope, kind, name, status, *more) in enumerate(calls, 1):
        places[scope] = places.get(scope, 0) + 1
        began = START + (n - 1) * 1_000
        open_ = status in {"running", "waiting", "retrying"}
        row = StepRow(
            scope, places[scope], kind, name, attempts=1, started_ms=began, ended_ms=None if open_ else began + 1_000
        )
        found.append(RunStep(n, 0, status, row._replace(**(more[0] if more else {}))))
    return found


def text(steps: Sequence[RunStep], status: str = "running", **fields: Any) -> list[str]:
    return as_text(graph(run(status, **fields), steps)).splitlines()


def test_steps_stand_one_below_the_other():
    steps = history(("", "step", "reserve", "done"), ("", "approval", "Go?", "waiting"))
    assert text(steps, "waiting") == [
        "… shop.order  run order-7",
        "  1 ✓ reserve  done",
        "  2 … approval Go?  waiting",
    ]


def test_an_ended_run_has_an_end():
    last = text(history(("", "step", "pay", "failed", {"attempts": 4})), "failed", finished_ms=START + 1_000)
    assert last[1:] == ["  1 ✗ pay  failed, 4 attempts", "✗ end  failed"]


def test_children_stand_side_by_side_and_join():
    steps = history(
        ("", "step", "plan", "done"), ("", "spawn", "fetch", "done"), ("", "spawn", "scan", "running"),
        ("", "step", "merge", "running"),
    )  # fmt: skip
    assert text(steps)[1:] == [
        "  1 ✓ plan  done",
        "  ├─   2 ✓ spawn fetch  done",
        "  └─   3 ▶ spawn scan  running",
        "  4 ▶ merge  running",
    ]
    chart = as_mermaid(graph(run(), steps))
    edges = [line.strip() for line in chart.splitlines() if "-->" in line]
    assert edges == ["n0 --> n1", "n1 --> n2", "n1 --> n3", "n2 --> n4", "n3 --> n4"]


def test_branches_of_an_async_body_are_lanes():
    steps = history(
        ("", "step", "a", "done"), ("/1", "step", "b", "done"), ("/2", "step", "c", "done"),
        ("/1", "step", "d", "done"), ("", "step", "e", "done"), ("/1/1", "step", "f", "done"),
    )  # fmt: skip
    assert text(steps)[2:] == [
        "  ├─   2 ✓ b  done",
        "  │    4 ✓ d  done",
        "  │    6 ✓ f  done",
        "  └─   3 ✓ c  done",
        "  5 ✓ e  done",
    ]


def test_many_of_one_name_are_one_node_with_the_worst_of_them():
    steps = history(*[("", "map", "thumb", "failed" if n == 7 else "done") for n in range(10_000)])
    lines = text(steps)
    assert lines[1:] == ["  1 ✗ map thumb × 10,000  1 failed, 9,999 done"]
    assert len(as_svg(graph(run(), steps))) < 2_000


def test_a_long_series_is_cut_and_says_so():
    steps = history(*[("", "step", f"s{n}", "done") for n in range(600)])
    assert text(steps)[-1].strip() == "✓ 100 more  not drawn"


HOSTILE = "<script>alert(1)</script>\"'&]]>`--> x\n\x1b[2J"


def test_names_of_others_drive_neither_a_page_nor_a_terminal():
    steps = history(("", "step", HOSTILE, "done"))
    series = graph(run(id=HOSTILE, name=HOSTILE), steps)
    svg = as_svg(series, HOSTILE)
    found = ET.fromstring(svg)
    assert {element.tag.rpartition("}")[2] for element in found.iter()} == {"svg", "title", "g", "rect", "text", "path"}
    assert "\x1b" not in as_text(series)
    chart = as_mermaid(series)
    assert "<script" not in chart
    assert chart.count('"') == 2 * chart.count('["'), "no label ends before its end"


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_no_two_boxes_of_a_drawing_overlap(lanes):
    steps = history(
        ("", "step", "a", "done"),
        *[(f"/{n}", "step", f"b{n}", "done") for n in range(lanes)],
        *[(f"/{n}", "step", f"c{n}", "done") for n in range(lanes - 1)],
        ("", "step", "d", "done"),
    )
    boxes = [
        tuple(float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
        for rect in ET.fromstring(as_svg(graph(run(), steps))).iter("{http://www.w3.org/2000/svg}rect")
        if rect.get("class") != "frame"
    ]
    assert len(boxes) == len(steps) + 1
    for i, (x, y, width, height) in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart = x + width <= other[0] or other[0] + other[2] <= x or y + height <= other[1]
            assert apart or other[1] + other[3] <= y, (boxes[i], other)


# -- the timeline ----------------------------------------------------------------------------------------------------


def test_bars_show_when_and_how_long():
    steps = history(
        ("", "step", "a", "done"), ("", "sleep", "", "done"), ("", "step", "b", "failed"),
        ("", "event", "go", "waiting"),
    )  # fmt: skip
    lines = bars(run(), steps, now_ms=START + 4_000, width=8)
    assert [line.bar for line in lines] == ["██      ", "  ░░    ", "    █✗  ", "      ░░"]
    assert [line.took for line in lines] == ["1.0 s"] * 4
    assert [line.label for line in lines] == ["a", "sleep", "b", "event go"]


def test_a_short_step_has_a_bar_still():
    steps = history(("", "step", "a", "done"), ("", "sleep", "", "done", {"ended_ms": START + 10**9}))
    assert [line.bar.strip()[0] for line in bars(run(), steps, now_ms=START + 10**9)] == ["█", "░"]


def test_of_a_long_history_the_last_steps_are_shown():
    steps = history(*[("", "step", f"s{n}", "done") for n in range(1_000)])
    lines = bars(run(), steps, now_ms=START + 10**6)
    assert [line.n for line in lines] == list(range(1_000 - MOST + 1, 1_001))
    assert lines[0].bar[0] == "█", "the time begins with the first that is shown"


def test_a_run_without_a_step_has_no_bars():
    assert bars(run("queued"), [], now_ms=START) == []
