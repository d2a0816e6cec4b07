"""The tables of `liteq top`: documents as cells, without a terminal."""

from __future__ import annotations

import pytest

from liteq.cli.top.tables import VIEWS, bars, count, head, rate, short

NOW = 1_767_225_600_000
DOCUMENTS = {
    "now": NOW,
    "file": "shop.db",
    "wal": 12 * 2**20,
    "overview": {
        "verdict": "Working. 412 tasks/s; mail is 3 min 2 s behind.",
        "states": {"dead": {"n": 3214, "exact": True}, "pending": {"n": 10_000, "exact": False}},
        "queues": [
            {"name": "mail", "waiting": {"n": 10_000, "exact": False}, "running": 8, "held": {"n": 0, "exact": True},
             "head_wait_s": 182.0, "in_s": 120.0, "out_s": 88.0, "slots": 8, "workers": 2, "paused": None},
            {"name": "slow", "waiting": {"n": 3, "exact": True}, "running": 0, "held": {"n": 7, "exact": True},
             "head_wait_s": 5.0, "in_s": 0.0, "out_s": 0.0, "slots": 2, "workers": 1,
             "paused": {"by": "ann", "reason": "deploy", "since": NOW, "until": None}},
        ],
        "running": [
            {"id": "0198-a", "task": "report", "queue": "mail", "worker": "w1", "started": NOW - 41_000,
             "progress": {"current": 61, "total": 100, "eta_s": None}, "args": (), "kwargs": {"n": 10}},
            {"id": "0198-b", "task": "charge", "queue": "mail", "worker": "w2", "started": None, "due": NOW - 300,
             "progress": None, "args": (7,), "kwargs": {"order_id": 77123}},
        ],
        "causes": [
            {"id": "c1", "task": "charge", "exception": "CardError", "message": "declined", "n": 212, "queue": "mail",
             "first": NOW - 3_600_000, "last": NOW - 2_000, "sample": "0198-b"},
        ],
        "warnings": ["the log has grown"],
        "rates": {"done_s": 412.0, "failed_s": 4.1, "wait_p95_s": 0.8, "run_p95_s": 1.2},
    },
    "workers": {"items": [
        {"name": "w1@host", "pid": 7, "state": "up", "heartbeat": NOW - 2_000, "busy": 8, "slots": 8, "load": 1.25,
         "queues": ["mail", "slow"], "weights": {"mail": 3}, "version": "1.0", "release": None},
    ]},
    "schedules": {"items": [
        {"name": "nightly", "task": "report", "schedule": "every 30 s", "enabled": True, "late_s": 95.0,
         "next": NOW - 95_000, "last": NOW - 125_000},
    ]},
    "workflows": {"items": [
        {"id": "0198-r", "name": "order", "kind": "run", "status": "waiting", "created": NOW - 90_000,
         "progress": None, "waits_for": "event go", "error": None},
        {"id": "0198-s", "name": "nightly", "kind": "canvas", "status": "running", "created": NOW - 90_000,
         "progress": {"done": 7_312, "total": {"n": 10_002, "exact": False}, "failed": 3}, "waits_for": ""},
    ]},
    "limits": {"items": [
        {"key": "user:*", "rate": None, "concurrent": 1, "running": {"n": 3, "exact": True}, "of": None, "paused": None,
         "held": {"n": 10_000, "exact": False}, "head_wait_s": 41.0, "queues": ["mail", "web"]},
        {"key": "api", "rate": "100/m", "concurrent": None, "running": {"n": 0, "exact": True}, "of": None,
         "held": {"n": 7, "exact": True}, "head_wait_s": 3.0, "queues": ["mail"], "paused": {"reason": "429"}},
    ]},
    "tasks": {"items": [
        {"id": "0198-b", "task": "charge", "state": "dead", "queue": "mail", "finished": NOW - 4_000,
         "error": {"type": "CardError", "message": "declined\x1b[31m"}},
    ]},
}  # fmt: skip


def rows(key: str) -> list[tuple[str, ...]]:
    return [line.cells for line in VIEWS[key].lines(DOCUMENTS)]


def test_queues():
    assert rows("1") == [
        ("mail", "10,000+", "3m02s", "120", "88", "8/8", "", "2"),
        ("slow", "paused by", "ann", "0", "0", "0/2", "7", "1"),
    ]


def test_running_tasks_show_their_progress_or_their_arguments():
    assert [row[:4] for row in rows("2")] == [
        ("report", "w1", "41s", "######---- 61%"), ("charge", "w2", "<0.3s", "7 order_id=77123"),
    ]  # fmt: skip


def test_failures():
    assert rows("3") == [("charge", "212", "2.0s", "CardError declined", "1h00m", "mail")]


def test_workers():
    assert rows("4") == [("w1@host", "up", "8/8", "2.0s", "mail=3,slow", "1.2", "1.0", "")]


def test_workflows():
    assert rows("5") == [
        ("order", "run", "waiting", "event go", "1m30s", "0198-r"),
        ("nightly", "canvas", "running", "7,312/10,002+ 3 failed", "1m30s", "0198-s"),
    ]


def test_limits():
    assert rows("8") == [
        ("user:*", "", "3/1", "10,000+", "41s", "mail web"), ("api", "100/m", "0", "7", "3.0s", "paused 429"),
    ]  # fmt: skip


def test_the_time_that_is_left_stands_beside_the_bar():
    one = {**DOCUMENTS["overview"]["running"][0], "progress": {"current": 3, "total": None, "note": "rows"}}
    shown = [VIEWS["2"].lines({**DOCUMENTS, "overview": {"running": [one]}})[0].cells[3]]
    one["progress"] = {"current": 61, "total": 100, "eta_s": 60}
    shown += [VIEWS["2"].lines({**DOCUMENTS, "overview": {"running": [one]}})[0].cells[3]]
    assert shown == ["3 rows", "######---- 61% 1m00s left"]


def test_schedules():
    assert rows("6") == [("nightly", "report", "every 30 s", "late", "-1m35s", "2m05s")]


def test_what_others_wrote_cannot_drive_the_terminal():
    assert rows("7") == [("charge", "dead", "mail", "4.0s", r"CardError declined\x1b[31m", "0198-b")]


def test_each_row_has_a_cell_for_each_column_and_a_key_of_its_own():
    for key, view in VIEWS.items():
        lines = view.lines(DOCUMENTS)
        assert {len(line.cells) for line in lines} == {len(view.columns)}, key
        assert len({line.key for line in lines}) == len(lines)


def test_the_line_above():
    assert head(DOCUMENTS, [1, 4, 8]) == (
        "liteq shop.db  412/s  failed 4.1/s  wait p95 0.8s  run p95 1.2s  ▁▄█  dead 3,214  wal 12 MB"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.04, "0.0s"), (9.99, "10.0s"), (10, "10s"), (59.9, "59s"), (182, "3m02s"), (18_420, "5h07m"),
     (172_800, "2d"), (-3, "0.0s")],
)  # fmt: skip
def test_spans_are_short(seconds, shown):
    assert short(seconds) == shown


def test_numbers_that_were_not_counted_to_their_end_say_so():
    assert [count({"n": 10_000, "exact": False}), count({"n": 14, "exact": True}), count(7), count(None)] == [
        "10,000+", "14", "7", "-",
    ]  # fmt: skip
    assert [rate(None), rate(0), rate(4.14), rate(412.4), rate(12_345)] == ["-", "0", "4.1", "412", "12,345"]


def test_a_series_of_nothing_is_flat():
    assert bars([0, 0]) == "▁▁"
    assert bars([]) == ""
    assert len(bars(range(50))) == 10
