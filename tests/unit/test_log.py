"""Loggers by Celery's names, and log lines that a task's name cannot forge."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading

import pytest

from liteq.cli import logs
from liteq.cli.log_pretty import PrettyFormatter
from liteq.exceptions import ImproperlyConfigured
from liteq.utils import log
from liteq.utils.lines import end_lines
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


# -- what tasks print ------------------------------------------------------------------------------------------------


@pytest.fixture
def printed(caplog):
    caplog.set_level(logging.INFO, "liteq.redirected")
    stream = logs.LogStream(logging.getLogger("liteq.redirected"), logging.INFO, io.StringIO())
    yield stream, caplog
    end_lines()


def test_what_is_printed_becomes_lines(printed):
    stream, caplog = printed
    assert stream.write("one\ntwo\nth") == 10
    stream.write("ree")
    assert caplog.messages == ["one", "two"]
    print(file=stream)
    assert caplog.messages == ["one", "two", "three"]


def test_the_rest_of_a_task_is_not_the_next_ones(printed):
    stream, caplog = printed
    stream.write("progress: 9")
    end_lines()  # as after each task
    stream.write("next\n")
    assert caplog.messages == ["progress: 9", "next"]


def test_each_thread_has_a_line_of_its_own(printed):
    stream, caplog = printed
    stream.write("mine ")
    other = threading.Thread(target=lambda: (stream.write("other"), end_lines()))
    other.start()
    other.join()
    stream.write("too\n")
    assert caplog.messages == ["other", "mine too"]


def test_printing_without_line_ends_costs_in_proportion(printed):
    """160,000 dots took 50 s: what there was of the line was copied for each."""
    stream, caplog = printed
    for _ in range(3 * logs.LONGEST_LINE):
        stream.write(".")
        assert stream._mine.parts[-1:] in ([], ["."]), "the line is put together at each write"
    assert [len(message) for message in caplog.messages] == [logs.LONGEST_LINE] * 3


def test_bytes_and_closing(printed):
    stream, caplog = printed
    stream.buffer.write("é\n".encode()[:1])
    stream.buffer.write("é\n".encode()[1:])
    io.TextIOWrapper(stream.buffer, encoding="utf-8", write_through=True).write("wrapped\n")
    stream.close()
    stream.write("after\n")
    assert caplog.messages == ["é", "wrapped", "after"]
    assert (stream.encoding, stream.closed, stream.isatty()) == ("utf-8", False, False)


def test_the_stream_has_all_that_a_text_stream_has(printed):
    """Libraries ask for `encoding`, `errors`, `name`, or make a stream of their own over `buffer`."""
    stream, caplog = printed
    wanted = {name for name in dir(io.TextIOWrapper) if not name.startswith("_")} | {"mode", "name"}
    assert not [name for name in sorted(wanted) if not hasattr(stream, name)]
    assert (stream.buffer.mode, stream.buffer.name) == ("wb", stream.name)
    stream.buffer.raw.write(b"")
    stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    stream.writelines(["one\n", "two\n"])
    writer = io.BufferedWriter(stream.buffer)
    writer.write(b"three\n")
    writer.flush()
    assert caplog.messages == ["one", "two", "three"]
    with pytest.raises(TypeError, match="takes str"):
        stream.write(b"bytes")


@pytest.mark.parametrize("formatter", [logs.PlainFormatter("%(message)s"), logs.JsonFormatter()], ids=["text", "json"])
def test_an_exception_is_logged_to_a_limit(record, formatter):
    try:
        raise ValueError("x" * 1_000_000 + "the end")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = formatter.format(record)
    assert len(line) < 2 * logs.LONGEST_TRACEBACK
    assert "Traceback" in line
    assert "the end" in line
    assert "liteq result" in line


@pytest.mark.parametrize("formatter", [logs.PlainFormatter("%(message)s"), logs.JsonFormatter(), PrettyFormatter()])
def test_neither_form_of_the_log_shows_raw_what_others_sent(formatter):
    sent = "x\n[2026-01-01 00:00:00,000: ERROR/Main] forged\x1b[2J"
    own = logging.LogRecord("liteq.worker", logging.ERROR, "f.py", 1, "unknown task %s", (sent,), None)
    line = formatter.format(own)
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"\n[2026" in (json.loads(line)["message"] if line.startswith("{") else line)


def test_a_programs_own_lines_stay_as_it_wrote_them():
    record = logging.LogRecord("liteq.redirected", logging.WARNING, "f.py", 1, "%s", ("\x1b[31mred\x1b[0m",), None)
    assert logs.PlainFormatter("%(message)s").format(record) == "\x1b[31mred\x1b[0m"


def test_a_record_of_the_program_has_what_it_was_given_as_extra():
    record = logging.getLogger("shop").makeRecord(
        "shop", logging.INFO, "f.py", 1, "paid", (), None, extra={"amount": 450, "by": "ann o"}
    )
    said = json.loads(logs.JsonFormatter().format(record))
    assert (said["message"], said["amount"], said["by"]) == ("paid", 450, "ann o")
    assert not {"args", "msg", "levelno", "thread"} & said.keys()
    line = PrettyFormatter().format(record)
    assert "[info    ] paid " in line
    assert line.endswith("amount=450 by='ann o'")


def test_no_line_is_lost_for_what_a_program_logs(tmp_path):
    extra = {"by": {1: "ann"}, "amount": 2**70, "file": "\udcff"}
    record = logging.getLogger("shop").makeRecord("shop", logging.INFO, "f.py", 1, "read \udcff", (), None, extra=extra)
    said = json.loads(logs.JsonFormatter().format(record))
    assert (said["message"], said["by"], said["amount"]) == (r"read \udcff", {"1": "ann"}, str(2**70))
    handler = logs.to_file(str(tmp_path / "worker.log"))
    handler.handle(record)
    handler.close()
    assert (tmp_path / "worker.log").read_text() == "read \\udcff\n"


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ImproperlyConfigured, match=r"worker\.log cannot be written: No such file"):
        logs.to_file(str(tmp_path / "none" / "worker.log"))


def test_a_record_of_liteq_shows_the_facts_alone():
    record = logging.getLogger("liteq.worker").makeRecord(
        "liteq.worker", logging.INFO, "f.py", 1, "ended", (), None, extra={"outcome": "dead", "internal": object()}
    )
    assert PrettyFormatter().format(record).endswith("outcome=dead")


def test_fields_are_dim_on_a_terminal_and_an_exception_stands_behind_them(record):
    record.queue = "mail"
    try:
        raise ValueError("no")
    except ValueError:
        record.exc_info = sys.exc_info()
    first, *rest = PrettyFormatter(use_color=True).format(record).splitlines()
    assert "\x1b[2mqueue=mail" in first
    assert "ValueError: no" in rest[-1]


# -- app.log of a program of one's own ---------------------------------------------------------------------------------


LOGGING = """
import logging
from liteq import Celery

app = Celery("logging", broker="sqlite:///unused.db")
def say():
    logging.getLogger("other").warning("logged")
    print("printed")
"""


@pytest.mark.parametrize(
    ("call", "printed", "logged"),
    [
        ("app.log.setup('INFO')", True, True),
        ("app.log.setup_logging_subsystem(loglevel=logging.INFO, colorize=False)", True, True),
        ("app.log.setup('INFO', None, True, 'ERROR')", False, True),
        ("app.log.setup(); app.log.redirect_stdouts('ERROR')", False, True),
        ("app.log.setup_task_loggers('INFO', propagate=True)", True, False),
    ],
)
def test_a_program_of_ones_own_sets_up_its_log(tmp_path, call, printed, logged):
    done = subprocess.run(
        [sys.executable, "-c", f"{LOGGING}{call}\nsay()"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout == "printed\n") is printed
    assert ("ERROR/MainProcess] printed" in done.stderr) is not printed
    assert ("WARNING/MainProcess] logged" in done.stderr) is logged
