"""The backend for Django's tasks: `TASKS = {"default": {"BACKEND": "liteq_django.TasksBackend"}}`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from liteq.exceptions import LiteqError
from liteq.utils.ids import new_id
from liteq_django.attempts import HEADER, Eager, changed, moment, result_of
from liteq_django.project import default_app
from liteq_django.running import EAGER, registered
from liteq_django.task_options import TaskOptions, options_of, problems
from liteq_django.tasks_api import (
    BaseTaskBackend,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
    task_enqueued,
)

__all__ = ["TasksBackend"]


class TasksBackend(BaseTaskBackend):
    """Enqueues into the project's queue, in the running transaction where there is one.

    OPTIONS: see task_options.py. A worker that is told no queues takes those of QUEUES too.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def options_of(self, path: str) -> TaskOptions:
        """The options that OPTIONS give the task at `path`."""
        return options_of(self.options, path)

    def validate_task(self, task: Any) -> None:
        """Raise InvalidTask if it cannot be enqueued here. Its `run_after` may be a timedelta, which is from now."""
        super().validate_task(absolute(task))

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send it; its result. Raises InvalidTask, TypeError for arguments that are no JSON, liteq's StorageError."""
        task = absolute(task)
        self.validate_task(task)
        args, kwargs = normalize_json(list(args)), normalize_json(dict(kwargs))
        app, id_ = default_app(), new_id()
        if app.conf.task_always_eager:
            return self._run(task, id_, args, kwargs)
        sent = self._send(task, id_, args, kwargs)
        record = app.storage.reader.find(sent.id)
        if record is not None and sent.id != id_:  # another that has its unique key
            result = result_of(record)
        else:  # a worker may have begun it: it was not when it was enqueued
            result = self._new(task, sent.id, args, kwargs, record.created_ms if record else app.clock.now_ms())
        task_enqueued.send(type(self), task_result=result)
        return result

    def _send(self, task: Any, id_: str, args: Any, kwargs: Any) -> Any:
        """Send it; the result that liteq has of it."""
        path, options = task.module_path, self.options_of(task.module_path)
        header = {"backend": self.alias, "run_after": task.run_after and task.run_after.isoformat()}
        return registered(task).apply_async(
            args,
            kwargs,
            task_id=id_,
            queue=task.queue_name,
            priority=task.priority,
            eta=_aware(task.run_after),
            unique_key=options.unique_key(path, args, kwargs),
            headers={HEADER: header},
            serializer="json",
            **options.sending(),
        )

    def _run(self, task: Any, id_: str, args: Any, kwargs: Any) -> Any:
        """With `task_always_eager`: its result when it has ended."""
        result = self._new(task, id_, args, kwargs, default_app().clock.now_ms())
        task_enqueued.send(type(self), task_result=result)
        eager = Eager(id_)
        token = EAGER.set(eager)
        try:
            self._send(task, id_, args, kwargs)
        finally:
            EAGER.reset(token)
        return eager.result or result

    def get_result(self, result_id: str) -> Any:
        """Its result as it is now. Raises TaskResultDoesNotExist: never enqueued, not yet committed, or expired."""
        record = default_app().storage.reader.find(str(result_id))
        if record is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(record)

    def check(self, **_kwargs: Any) -> Iterator[checks.CheckMessage]:
        """The problems of this entry of TASKS."""
        for problem in problems(self.options):
            yield checks.Error(f"TASKS[{self.alias!r}]: {problem}", id="liteq.E010", obj=self)
        try:
            default_app().broker_url  # noqa: B018 - whether there is one
        except (LiteqError, ImproperlyConfigured) as exc:
            yield checks.Error(f"TASKS[{self.alias!r}] has no queue: {exc}", id="liteq.E011", obj=self)

    def _new(self, task: Any, id_: str, args: Any, kwargs: Any, created_ms: int) -> Any:
        """The result of what has not begun."""
        return TaskResult(
            task=task,
            id=id_,
            status=TaskResultStatus.READY,
            enqueued_at=moment(created_ms),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )


def absolute(task: Any) -> Any:
    """`task` with a `run_after` that is a timedelta made a time: that long from now."""
    return changed(task, run_after=timezone.now() + task.run_after) if isinstance(task.run_after, timedelta) else task


def _aware(moment: datetime | None) -> datetime | None:
    """`run_after` as an absolute time; with USE_TZ = False it is a local one."""
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment
