"""The backend for Django's tasks: `TASKS = {"default": {"BACKEND": "liteq_django.TasksBackend"}}`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from liteq.exceptions import LiteqError
from liteq.result import EagerResult
from liteq_django.attempts import HEADER, moment, result_of
from liteq_django.project import default_app
from liteq_django.running import registered
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

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Send it; its result. Raises InvalidTask, TypeError for arguments that are no JSON, liteq's StorageError."""
        self.validate_task(task)
        args, kwargs = normalize_json(list(args)), normalize_json(dict(kwargs))
        path, options = task.module_path, self.options_of(task.module_path)
        header = {"backend": self.alias, "run_after": task.run_after and task.run_after.isoformat()}
        sent = registered(task).apply_async(
            args,
            kwargs,
            queue=task.queue_name,
            priority=task.priority,
            eta=_aware(task.run_after),
            unique_key=options.unique_key(path, args, kwargs),
            headers={HEADER: header},
            serializer="json",
            **options.sending(),
        )
        result = self._eager(task, sent, args, kwargs) if isinstance(sent, EagerResult) else None
        if result is None:
            record = default_app().storage.reader.find(sent.id)
            result = self._new(task, sent.id, args, kwargs) if record is None else result_of(record)
        task_enqueued.send(type(self), task_result=result)
        return result

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

    def _new(self, task: Any, id_: str, args: Any, kwargs: Any) -> Any:
        """The result of what is on its way: in the outbox until the transaction has been committed."""
        return TaskResult(
            task=task,
            id=id_,
            status=TaskResultStatus.READY,
            enqueued_at=moment(default_app().clock.now_ms()),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def _eager(self, task: Any, sent: Any, args: Any, kwargs: Any) -> Any:
        """With `task_always_eager`: it has run."""
        result = self._new(task, sent.id, args, kwargs)
        status = TaskResultStatus.SUCCESSFUL if sent.successful() else TaskResultStatus.FAILED
        object.__setattr__(result, "status", status)
        for name in ("started_at", "last_attempted_at", "finished_at"):
            object.__setattr__(result, name, result.enqueued_at)
        result.worker_ids.append("eager")
        if sent.successful():
            object.__setattr__(result, "_return_value", sent.result)
        return result


def _aware(moment: datetime | None) -> datetime | None:
    """`run_after` as an absolute time; with USE_TZ = False it is a local one."""
    return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment
