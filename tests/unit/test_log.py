"""Loggers by Celery's names, and log lines that a task's name cannot forge."""

from __future__ import annotations

import json
import logging

import pytest

from liteq.cli import logs
from liteq.utils import log
from liteq.utils.text import printable


@pytest.fixture
def record():
    return logging.LogRecord("app", logging.ERROR, "f.py", 1, "hello %s", ("you",), None)


@pytest.fixture
def running():
    before = log._lookup
    yield log.set_task_lookup
    log.set_task_lookup(before)


def test_a_tasks_logger_is_below_liteq_task():
    logger = log.get_task_logger("some_app.tasks")
    assert logger is logging.getLogger("some_app.tasks")
    assert logger.parent is log.task_logger
    assert log.task_logger.parent is log.base_logger
    assert log.get_task_logger("some_app.tasks") is logger


def test_a_logger_of_liteqs_own_name_is_refused():
    with pytest.raises(RuntimeError, match="reserved"):
        log.get_task_logger("liteq.task")


def test_get_logger_is_below_liteq():
    assert log.get_logger("some_other_app").parent is log.base_logger
    assert log.get_logger("liteq.worker") is log.worker_logger


def test_levels_by_name():
    assert log.mlevel("info") == log.mlevel("INFO") == log.mlevel("20") == log.mlevel(20) == 20
    with pytest.raises(ValueError, match="loud"):
        log.mlevel("loud")


def test_a_line_carries_the_running_task(record, running):
    formatter = log.TaskFormatter("%(task_name)s[%(task_id)s]: %(message)s")
    assert formatter.format(record) == "???[???]: hello you"
    running(lambda: ("app.add", "0190"))
    assert formatter.format(record) == "app.add[0190]: hello you"


def test_a_name_cannot_forge_a_line_or_drive_the_terminal(record, running):
    running(lambda: ("app\nERROR forged\x1b[2J", "0190\r"))
    line = log.TaskFormatter("%(task_name)s[%(task_id)s]").format(record)
    assert line == r"app\nERROR forged\x1b[2J[0190\r]"


def test_colour_is_by_level_and_only_when_asked(record):
    assert log.ColorFormatter("%(message)s").format(record) == "hello you"
    assert log.ColorFormatter("%(message)s", use_color=True).format(record) == "\x1b[31mhello you\x1b[0m"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain é 漢", "plain é 漢"), ("a\r\nb", r"a\r\nb"), ("\x1b[0m", r"\x1b[0m"), ("\u202e", r"\u202e")],
)
def test_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("formatter", [logs._PlainFormatter("%(message)s"), logs.JsonFormatter()])
def test_neither_form_of_the_log_shows_raw_what_others_sent(formatter):
    sent = "x\n[2026-01-01 00:00:00,000: ERROR/Main] forged\x1b[2J"
    own = logging.LogRecord("liteq.worker", logging.ERROR, "f.py", 1, "unknown task %s", (sent,), None)
    line = formatter.format(own)
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"\n[2026" in (json.loads(line)["message"] if line.startswith("{") else line)


def test_a_programs_own_lines_stay_as_it_wrote_them():
    record = logging.LogRecord("liteq.redirected", logging.WARNING, "f.py", 1, "%s", ("\x1b[31mred\x1b[0m",), None)
    assert logs._PlainFormatter("%(message)s").format(record) == "\x1b[31mred\x1b[0m"
