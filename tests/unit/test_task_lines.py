"""The lines about tasks that succeeded: so many a second, and the number of the others."""

from __future__ import annotations

import logging

import pytest

from liteq.execution import lines
from liteq.execution.lines import TaskLines, name_of
from liteq.message import Lease


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])
    return now


def test_without_a_limit_each_has_its_line(clock):
    assert all(TaskLines().may() for _ in range(1_000))


def test_above_the_limit_they_are_counted(clock, caplog):
    told = TaskLines(limit=2)
    caplog.set_level(logging.INFO, "liteq.execution")
    assert [told.may() for _ in range(5)] == [True, True, False, False, False]
    clock[0] += 1.0
    assert told.may()
    assert caplog.messages == [
        "... and 3 more tasks succeeded, above 2 lines a second (worker_log_tasks); -l info logs each"
    ]
    assert caplog.records[0].count == 3


def test_the_rest_is_told_when_its_second_is_over(clock, caplog):
    told = TaskLines(limit=1)
    caplog.set_level(logging.INFO, "liteq.execution")
    assert told.idle() is None
    assert [told.may(), told.may()] == [True, False]
    clock[0] += 0.5
    assert told.idle() == pytest.approx(501)
    assert caplog.messages == []
    clock[0] += 0.6
    assert told.idle() is None
    assert len(caplog.messages) == 1
    assert told.idle() is None


@pytest.mark.parametrize(
    ("options", "name"),
    [(None, "t"), (b'{"shadow":"of the day"}', "of the day"), (b'{"shadow":null}', "t"), (b"[1]", "t"), (b"none", "t")],
)
def test_a_line_about_a_message_stops_no_worker_whatever_others_wrote(options, name):
    """Options that are no document are refused where the message is executed."""
    lease = Lease(
        seq=1, token=1, id="id", task="t", payload=b"[[],{}]", options=options, queue="celery", priority=0, due_ms=0,
        expires_ms=None, retries=0, crashes=0, flags=0, root_id=None, parent_id=None, group_id=None, awaits=None,
    )  # fmt: skip
    assert name_of(lease) == name
