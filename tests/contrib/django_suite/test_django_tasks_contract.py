"""Words of Django's documentation of its tasks, and the code of people who have read it."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone
from shop import jobs

from liteq_django import drain, tasks_api
from liteq_django.tasks_api import (
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)

READY, SUCCESSFUL, FAILED = TaskResultStatus.READY, TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED
OURS = "liteq_django.TasksBackend"


@contextlib.contextmanager
def heard():
    """The signals that come meanwhile, with the status, the attempts and the errors of their results."""
    seen = []

    def listener(name):
        def hear(sender, task_result, **_named):
            errors = [error.exception_class_path for error in task_result.errors]
            seen.append((name, str(task_result.status), task_result.attempts, errors))

        return hear

    signals = [("enqueued", task_enqueued), ("started", task_started), ("finished", task_finished)]
    listeners = [(signal, listener(name)) for name, signal in signals]
    for signal, hear in listeners:
        signal.connect(hear)
    try:
        yield seen
    finally:
        for signal, hear in listeners:
            signal.disconnect(hear)


@pytest.mark.parametrize("priority", [-100, -1, 100])
def test_every_priority_of_djangos(shop, priority):
    result = jobs.add.using(priority=priority).enqueue(1, 2)
    assert drain() == 1
    result.refresh()
    assert (result.status, result.task.priority) == (SUCCESSFUL, priority)


def test_a_low_priority_waits_for_those_that_have_none(shop):
    late = jobs.add.using(priority=-100).enqueue(1, 2)
    soon = jobs.add.enqueue(1, 2)
    drain()
    late.refresh()
    soon.refresh()
    assert soon.started_at <= late.started_at
    assert soon.finished_at <= late.started_at


def test_run_after_may_be_a_time_from_now(shop):
    before = timezone.now()
    result = jobs.add.using(run_after=timedelta(hours=1)).enqueue(1, 2)
    assert before + timedelta(hours=1) <= result.task.run_after <= timezone.now() + timedelta(hours=1)
    assert jobs.add.get_result(result.id).task == result.task
    assert drain() == 0


def test_the_context_has_the_task_as_it_was_sent(shop):
    at = timezone.now() - timedelta(hours=1)
    jobs.as_sent.using(queue_name="letters").enqueue()
    with override_settings(TASKS={name: {"BACKEND": OURS, "QUEUES": []} for name in ("default", "second")}):
        second = jobs.as_sent.using(priority=7, backend="second", queue_name="default", run_after=at).enqueue()
        assert drain(["default", "letters"]) == 2
        second.refresh()
    assert second.return_value == [7, "default", "second", str(at)]


def test_what_has_begun_meanwhile_was_ready_when_it_was_enqueued(shop, monkeypatch):
    find = type(shop.storage.reader).find

    def as_if_a_worker_were_quick(reader, id_, *args, **named):
        drain()
        return find(reader, id_, *args, **named)

    monkeypatch.setattr(type(shop.storage.reader), "find", as_if_a_worker_were_quick)
    with heard() as seen:
        result = jobs.add.enqueue(1, 2)
    monkeypatch.undo()
    assert (result.status, result.attempts, result.is_finished) == (READY, 0, False)
    assert ("enqueued", "READY", 0, []) in seen
    drain()
    result.refresh()
    assert result.return_value == 3


def test_a_result_is_read_after_its_queue_or_alias_has_left_the_settings(shop):
    result = jobs.add.using(queue_name="letters").enqueue(1, 2)
    drain()
    with override_settings(TASKS={"default": {"BACKEND": OURS}}):
        known = task_backends["default"].get_result(result.id)
        assert (known.return_value, known.task.queue_name) == (3, "letters")


def test_eager_tasks_end_as_the_others_do(shop):
    with override_settings(LITEQ={"DATABASE": "default", "TASK_ALWAYS_EAGER": True}):
        with heard() as seen:
            result = jobs.unlucky.enqueue()
        assert jobs.as_sent.using(priority=7, queue_name="letters").enqueue().return_value == [
            7, "letters", "default", "None",
        ]  # fmt: skip
    assert (result.status, result.attempts) == (FAILED, 2)
    assert [error.traceback.splitlines()[-1] for error in result.errors] == ["OSError: attempt 1", "OSError: attempt 2"]
    errors = ["builtins.OSError"]
    assert seen == [
        ("enqueued", "READY", 0, []),
        ("started", "RUNNING", 1, []),
        ("started", "RUNNING", 2, errors),
        ("finished", "FAILED", 2, errors * 2),
    ]


def test_a_task_whose_process_died_has_finished_too(shop, site, wait_for):
    site.env["SHOP_HEARD"] = str(site.folder / "heard")
    site.worker("-c", "1")
    result = jobs.die.enqueue()

    def finished():
        result.refresh()
        return result.is_finished

    wait_for(finished)
    heard_there = site.folder / "heard"
    wait_for(lambda: "finished" in heard_there.read_text())
    lines = heard_there.read_text().splitlines()
    assert lines[-1] == f"finished FAILED {result.attempts} {result.attempts} 3 {result.id}"
    assert result.attempts == len(result.errors) == sum(line.startswith("started") for line in lines)


def test_values_that_are_compressed_are_read(shop):
    compressed = {"TASK_COMPRESSION": "gzip", "RESULT_COMPRESSION": "gzip"}
    with override_settings(LITEQ={"DATABASE": "default", **compressed}):
        result = jobs.add.enqueue("a" * 3000, b="b")
        assert result.args == ["a" * 3000]
        drain()
        result.refresh()
        assert result.return_value == "a" * 3000 + "b"


def test_a_revoked_task_says_why_it_never_ran(shop):
    result = jobs.add.enqueue(1, 2)
    shop.control.revoke(result.id)
    drain()
    result.refresh()
    assert result.status == FAILED
    assert [error.exception_class_path for error in result.errors] == ["liteq.exceptions.TaskRevokedError"]


def test_a_run_of_beat_has_a_result(shop):
    shop.schedules.add("nightly", 3600, "shop.jobs.as_sent", queue="letters", priority=4)
    shop.schedules.run_now("nightly")
    assert drain() == 1
    (line,) = shop.storage.views.page("all", limit=2)
    result = jobs.as_sent.get_result(line.id)
    assert (result.status, result.return_value) == (SUCCESSFUL, [4, "letters", "default", "None"])
    assert result.task == jobs.as_sent.using(queue_name="letters", priority=4)


def test_a_name_that_is_no_path_is_no_task(shop):
    assert [shop.tasks.find(name) for name in ("", "add", ".x.y", "..", "shop.jobs.", "shop..add")] == [None] * 6


@pytest.mark.skipif(not tasks_api.Task.__module__.startswith("django_tasks"), reason="this Django has its own tasks")
def test_the_backport_may_name_its_error_as_django_does(site):
    done = site.python(
        "from django_tasks import exceptions\n"
        "exceptions.InvalidTask = exceptions.InvalidTaskError\n"
        "del exceptions.InvalidTaskError\n"
        "import liteq_django.tasks_backend, liteq_django.tasks_api\n"
        "print(liteq_django.tasks_api.InvalidTask is exceptions.InvalidTask)"
    )
    assert done.stdout == "True\n", done.stderr
