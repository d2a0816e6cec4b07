"""The backend for Django's tasks: what its contract says, by a real worker."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from shop import jobs

from liteq.serialization import encode
from liteq.states import State
from liteq_django import drain
from liteq_django.attempts import Attempts
from liteq_django.tasks_api import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)

READY, SUCCESSFUL, FAILED = TaskResultStatus.READY, TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED


def run(task, *args, **kwargs):
    result = task.enqueue(*args, **kwargs)
    assert drain() == 1
    result.refresh()
    return result


def test_it_can_do_everything(shop):
    backend = task_backends["default"]
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_a_result_from_its_beginning_to_its_end(shop):
    result = jobs.add.using(priority=7, queue_name="letters").enqueue(1, b=2)
    assert (result.status, result.args, result.kwargs, result.attempts) == (READY, [1], {"b": 2}, 0)
    assert result == jobs.add.get_result(result.id)
    assert result.task.priority == 7
    assert shop.storage.reader.find(result.id).queue == "letters"
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value
    assert drain() == 1
    result.refresh()
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 1)
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.errors == []


def test_a_coroutine_is_run_and_its_tuple_is_a_list(shop):
    assert run(jobs.add_async, 1, 2).return_value == [1, 2]


def test_a_failure_keeps_its_class_and_traceback(shop):
    result = run(jobs.fail)
    assert result.status == FAILED
    (error,) = result.errors
    assert error.exception_class is ValueError
    assert error.traceback.endswith("ValueError: no such thing\n")
    assert run(jobs.leave).errors[0].exception_class is SystemExit
    assert run(jobs.unserializable).errors[0].exception_class is TypeError


def test_context_tells_attempt_and_id(shop):
    result = run(jobs.who, "word")
    assert result.return_value == [1, result.id, "word"]


@pytest.mark.parametrize("log_keep", [None, 60])
@pytest.mark.parametrize("name", ["flaky", "flaky_that_tells"])
def test_errors_and_workers_are_kept_for_each_attempt(shop, name, log_keep, wait_for, monkeypatch):
    monkeypatch.setattr(shop.conf, "task_log_keep", log_keep)
    result = getattr(jobs, name).enqueue()

    def finished():
        drain()
        result.refresh()
        return result.is_finished

    wait_for(finished)
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 3)
    assert [error.traceback.splitlines()[-1] for error in result.errors] == ["OSError: attempt 1", "OSError: attempt 2"]
    assert len(result.worker_ids) == 3
    assert result.started_at <= result.last_attempted_at


def test_the_attempts_of_a_result_of_an_older_liteq_are_told(shop):
    """They were the state that the task told of itself."""
    result = jobs.flaky.enqueue()
    kept = {"workers": ["a", "b"], "started_ms": [1_000, 2_000], "errors": [["builtins.OSError", "OSError: 1"]]}
    shop.storage.progress(result.id, encode({"state": "STARTED", "meta": kept}, what="a state"))
    assert asdict(Attempts.of(shop.storage.reader.find(result.id))) == kept


def test_the_attempts_before_a_replay_do_not_count(shop, wait_for):
    result = jobs.unlucky.enqueue()

    def finished():
        drain()
        result.refresh()
        return result.is_finished

    for _ in range(2):
        wait_for(finished)
        assert (result.status, result.attempts) == (FAILED, 2)
        assert [e.traceback.splitlines()[-1] for e in result.errors] == ["OSError: attempt 1", "OSError: attempt 2"]
        shop.storage.dead.requeue([result.id])
        result.refresh()
        assert not result.is_finished


def test_what_is_not_to_be_retried_is_not(shop):
    result = run(jobs.only_os_errors)
    assert (result.status, result.attempts) == (FAILED, 1)


def test_a_unique_task_waits_once(shop):
    first, second, other = jobs.once.enqueue("a"), jobs.once.enqueue("a"), jobs.once.enqueue("b")
    assert first.id == second.id != other.id
    assert drain() == 2
    assert jobs.once.enqueue("a").id != first.id


def test_run_after_is_not_before(shop):
    at = timezone.now() + timedelta(hours=1)
    result = jobs.add.using(run_after=at).enqueue(1, 2)
    assert drain() == 0
    assert shop.storage.reader.find(result.id).state is State.SCHEDULED
    assert jobs.add.get_result(result.id).task.run_after == at


def test_the_signals_come_once_each(shop):
    heard = []

    def listener(name):
        def hear(sender, task_result, **kwargs):
            heard.append((name, sender.__name__, str(task_result.status), task_result.attempts))

        return hear

    signals = {"enqueued": task_enqueued, "started": task_started, "finished": task_finished}
    listeners = {name: listener(name) for name in signals}
    for name, signal in signals.items():
        signal.connect(listeners[name])
    try:
        run(jobs.add, 1, 2)
        run(jobs.fail)
    finally:
        for name, signal in signals.items():
            signal.disconnect(listeners[name])
    assert heard == [
        ("enqueued", "TasksBackend", "READY", 0),
        ("started", "TasksBackend", "RUNNING", 1),
        ("finished", "TasksBackend", "SUCCESSFUL", 1),
        ("enqueued", "TasksBackend", "READY", 0),
        ("started", "TasksBackend", "RUNNING", 1),
        ("finished", "TasksBackend", "FAILED", 1),
    ]


def test_a_rollback_leaves_no_task(shop):
    with pytest.raises(KeyError), transaction.atomic():
        result = jobs.add.enqueue(1, 2)
        raise KeyError
    with pytest.raises(TaskResultDoesNotExist):
        jobs.add.get_result(result.id)


def test_other_messages_are_no_results(shop):
    from shop.orders.tasks import pay

    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result(pay.delay(1).id)
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["default"].get_result("nobody")


def test_what_is_no_json_and_what_is_no_queue_is_refused(shop):
    with pytest.raises(TypeError, match="Unsupported type"):
        jobs.add.enqueue(timezone.now(), 2)
    with pytest.raises(InvalidTask, match="not valid for backend"):
        jobs.add.using(queue_name="nowhere")
    assert shop.storage.reader.counts() == []


def test_asynchronous_callers(shop):
    import asyncio

    async def call():
        result = await jobs.add.aenqueue(1, 2)
        return await jobs.add.aget_result(result.id)

    assert asyncio.run(call()).args == [1, 2]


def test_eager_tasks_have_run_when_they_are_enqueued(shop):
    with override_settings(LITEQ={"DATABASE": "default", "TASK_ALWAYS_EAGER": True}):
        result = jobs.add.enqueue(1, 2)
    assert (result.status, result.return_value) == (SUCCESSFUL, 3)


def test_a_worker_takes_the_queues_of_tasks_and_keeps_their_limits(shop, site, wait_for):
    site.worker("-c", "1")
    result = jobs.add.using(queue_name="letters").enqueue(2, 2)
    slow = jobs.sleep.enqueue()

    def both():
        result.refresh()
        slow.refresh()
        return result.is_finished and slow.is_finished

    wait_for(both)
    assert result.return_value == 4
    assert result.worker_ids[0].startswith("liteq@")
    assert slow.errors[0].exception_class.__name__ == "SoftTimeLimitExceeded"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_retry": 3}, "no option 'max_retry'"),
        ({"TASKS": {"shop.*": {"retry_on": ["no.such.Error"]}}}, "No module named"),
        ({"time_limit": 1, "soft_time_limit": 2}, "over time_limit"),
        ({"unique": "nowhere.key"}, "No module named"),
    ],
)
def test_wrong_options_are_found_by_check(shop, options, problem):
    with override_settings(TASKS={"default": {"BACKEND": "liteq_django.TasksBackend", "OPTIONS": options}}):
        (error,) = task_backends["default"].check()
    assert problem in error.msg
    assert list(task_backends["default"].check()) == []
