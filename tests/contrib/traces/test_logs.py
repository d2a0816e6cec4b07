"""The `--json` log tells of each task what happened, with all ids; so does what a task logs itself."""

from __future__ import annotations

import io
import json
import logging

import pytest

from liteq.cli.logs import JsonFormatter
from liteq.testing import drain
from liteq.utils.log import TaskFields, add_task_fields, task_fields

SHOP = """
import logging
from liteq import LiteQ

@app.task
def add(x, y):
    logging.getLogger("shop").warning("adding")
    return x + y

@app.task(bind=True, max_retries=1, default_retry_delay=0, sensitive=("card",))
def charge(self, card):
    try:
        raise ConnectionError(f"no line for {card}")
    except ConnectionError as exc:
        raise self.retry(exc=exc)

@app.task
def dies():
    os.kill(os.getpid(), 9)

app.conf.max_crashes = 1
"""


def lines_of(log: str) -> list[dict]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def events(lines, task):
    return [line for line in lines if line.get("event") and line.get("task") == f"shop.{task}"]


def test_a_task_is_received_started_and_ended_with_all_its_ids(run):
    lines = lines_of(run(SHOP, "chain(add.s(1, 2), add.s(3)).delay()\n", "--json", "-l", "info"))
    first, second = ([line for line in events(lines, "add") if line["task_id"] == id_] for id_ in ids_of(lines))
    for each in (first, second):
        received, started, ended = each
        assert [one["event"] for one in each] == ["task.received", "task.started", "task.succeeded"]
        assert {one["root_id"] for one in each} == {first[0]["task_id"]}
        assert {(one["queue"], one["attempt"]) for one in each} == {("celery", 1)}
        assert ended["outcome"] == "succeeded"
        assert 0 <= ended["run_s"] < 5
        assert 0 <= started["wait_s"] < 30
        assert started["worker"] == received["worker"]


def ids_of(lines):
    return dict.fromkeys(line["task_id"] for line in events(lines, "add"))


def test_the_worker_s_own_lines_have_the_trace_of_the_sender(run):
    trace = "0af7651916cd43dd8448eb211c80319c"
    sends = f"dies.apply_async(headers={{'traceparent': '00-{trace}-b7ad6b7169203331-01'}})\n"
    told = events(lines_of(run(SHOP, sends, "--json", "-l", "info")), "dies")
    in_the_worker = [one["trace_id"] for one in told if one["event"] in {"task.received", "task.dead"}]
    assert in_the_worker == [trace, trace]


def test_what_a_task_logs_has_the_same_fields(run):
    lines = lines_of(run(SHOP, "add.delay(1, 2)\n", "--json"))
    (own,) = [line for line in lines if line["message"] == "adding"]
    assert (own["task"], own["queue"], own["attempt"], own["root_id"]) == ("shop.add", "celery", 1, own["task_id"])
    assert own["worker"].startswith("liteq@")
    assert "event" not in own


def test_a_retry_and_a_failure_tell_their_error_and_no_secret(run):
    log = run(SHOP, "charge.delay('4111-1111')\n", "--json", "-l", "info")
    told = [line for line in events(lines_of(log), "charge") if "outcome" in line]
    assert [(one["event"], one["outcome"], one["attempt"]) for one in told] == [
        ("task.retried", "retried", 1), ("task.failed", "failed", 2),
    ]  # fmt: skip
    assert [one["error_type"] for one in told] == ["ConnectionError"] * 2
    assert "no line for ***" in told[1]["message"]
    assert "no line for ***" in told[1]["exception"]
    assert "4111-1111" not in log


def test_the_log_as_text_has_no_secret_either(run):
    log = run(SHOP, "charge.delay('4111-1111')\n", "-l", "info")
    assert "no line for ***" in log
    assert "4111-1111" not in log
    assert "started" not in log


def test_a_task_that_killed_its_process_is_dead(run):
    lines = lines_of(run(SHOP, "dies.delay()\n", "--json"))
    (ended,) = [line for line in events(lines, "dies") if "outcome" in line]
    assert (ended["event"], ended["error_type"], ended["crashes"]) == ("task.dead", "WorkerLostError", 1)


def test_a_message_that_no_worker_can_run_is_dead(run):
    shop = SHOP + "\napp.conf.unknown_task_patience = 0\n"
    lines = lines_of(run(shop, "app.send_task('shop.gone')\n", "--json"))
    (ended,) = events(lines, "gone")
    assert (ended["event"], ended["outcome"], ended["error_type"]) == ("task.dead", "dead", "NotRegistered")


# -- logging of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def logged(app):
    """Runs a function in a task; the text that it returns."""

    def logged(function):
        app.task(name="logs")(function)
        sent = app.tasks["logs"].delay()
        drain(app)
        return sent, sent.get(timeout=0)

    return logged


def test_the_ids_of_the_trace_are_in_each_line_of_an_instrumented_app(logged, traced):
    def body():
        record = logging.LogRecord("shop", logging.INFO, "f.py", 1, "hello", (), None)
        return json.loads(JsonFormatter().format(record))

    sent, line = logged(body)
    span = traced.span("process").context
    assert (line["trace_id"], line["span_id"]) == (f"{span.trace_id:032x}", f"{span.span_id:016x}")
    assert (line["task_id"], line["message"]) == (sent.id, "hello")
    assert list(line)[:3] == ["time", "level", "logger"]


def test_a_handler_of_one_s_own_has_them_by_a_filter(logged):
    def body():
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(logging.Formatter("%(message)s %(task)s %(queue)s %(attempt)s"))
        handler.addFilter(TaskFields())
        logger = logging.getLogger("shop.of_a_test")
        logger.addHandler(handler)
        logger.warning("hello")
        return out.getvalue()

    _, text = logged(body)
    assert text == "hello logs celery 1\n"


def test_structlog_has_them_by_a_processor(logged):
    structlog = pytest.importorskip("structlog")

    def body():
        out = io.StringIO()
        logger = structlog.wrap_logger(
            structlog.PrintLogger(out), processors=[add_task_fields, structlog.processors.JSONRenderer()]
        )
        logger.info("hello", queue="mine")
        return json.loads(out.getvalue())

    sent, line = logged(body)
    assert (line["event"], line["task_id"], line["attempt"]) == ("hello", sent.id, 1)
    assert line["queue"] == "mine", "what the program says itself stays"


def test_a_structlog_that_logs_into_the_worker_s_handlers_has_them(run):
    pytest.importorskip("structlog")
    shop = """
import structlog
structlog.configure(
    processors=[structlog.stdlib.add_log_level, structlog.stdlib.render_to_log_kwargs],
    logger_factory=structlog.stdlib.LoggerFactory(),
)

@app.task
def look():
    structlog.get_logger("shop").warning("hello")
"""
    (own,) = [line for line in lines_of(run(shop, "look.delay()\n", "--json")) if line["message"] == "hello"]
    assert (own["task"], own["attempt"]) == ("shop.look", 1)


def test_outside_a_task_there_are_none():
    assert task_fields() == {}
