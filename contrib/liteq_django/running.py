"""A task of Django's as liteq runs it: one liteq task for each, under its path."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.utils.module_loading import import_string

from liteq import states
from liteq_django.attempts import ATTEMPTS, HEADER, Attempts, errors_of, moment
from liteq_django.project import default_app
from liteq_django.task import DjangoTask
from liteq_django.task_options import TaskOptions
from liteq_django.tasks_api import (
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    normalize_json,
    task_backends,
    task_finished,
    task_started,
)

__all__ = ["RunsDjangoTask", "find", "registered"]


def find(name: str) -> Any:
    """The liteq task for Django's task at the path `name`, which is registered; None when there is no such."""
    try:
        found = import_string(name)
    except ImportError:
        return None
    return registered(found) if isinstance(found, Task) else None


def registered(task: Any) -> Any:
    """The liteq task for `task`."""
    app = default_app()
    known = app.tasks.get(task.module_path)
    if known is None:
        known = app.register_task(RunsDjangoTask(task))
    return known


class RunsDjangoTask(DjangoTask[..., Any]):
    """Its name is the path of Django's task, so that routes, logs and dead letters are told by it."""

    abstract = False
    typing = False
    ignore_result = False  # else its result would vanish with its success

    def __init__(self, task: Any) -> None:
        self.django_task = task
        self.name = task.module_path
        self.__doc__ = task.func.__doc__

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """One attempt. Raises what the task raises, or Retry."""
        backend = self._backend()
        options: TaskOptions = backend.options_of(self.name)
        result = self._begin(args, kwargs, backend)
        task_started.send(sender=type(backend), task_result=result)
        context = (TaskContext(task_result=result),) if self.django_task.takes_context else ()
        try:
            return normalize_json(self.django_task.call(*context, *args, **kwargs))
        except options.exceptions() as exc:
            if options.max_retries == 0:
                raise
            delay_s = options.delay_s(self.request.retries)
            headers = {**(self.request.headers or {}), ATTEMPTS: self.request.get(ATTEMPTS)}
            raise self.retry(exc=exc, countdown=delay_s, max_retries=options.max_retries, headers=headers) from exc

    def _backend(self) -> Any:
        header = (self.request.headers or {}).get(HEADER) or {}
        return task_backends[header.get("backend", self.django_task.backend)]

    def _begin(self, args: Any, kwargs: Any, backend: Any) -> Any:
        """Note the attempt in the message's row; the result as it is now."""
        request, now_ms = self.request, self.app.clock.now_ms()
        record = None if request.is_eager or request.id is None else self.app.storage.reader.find(request.id)
        attempts = Attempts.of(record)
        attempts.begin(record, request.hostname or "eager", now_ms)
        self.update_state(state=states.STARTED, meta=asdict(attempts))
        result = TaskResult(
            task=self.django_task,
            id=request.id,
            status=TaskResultStatus.RUNNING,
            enqueued_at=moment(now_ms if record is None else record.created_ms),
            started_at=moment(attempts.started_ms[0]),
            last_attempted_at=moment(now_ms),
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=backend.alias,
            errors=errors_of(attempts),
            worker_ids=attempts.workers,
        )
        request.update(django_result=result, **{ATTEMPTS: asdict(attempts)})
        return result

    # -- the end: once, whatever the number of attempts

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - a hook's arguments
        self._finished(TaskResultStatus.SUCCESSFUL, retval)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002 - as above
        path = f"{type(exc).__module__}.{type(exc).__qualname__}"
        self._finished(TaskResultStatus.FAILED, None, [path, einfo.traceback])

    def _finished(self, status: Any, value: Any, error: list[str] | None = None) -> None:
        result = self.request.get("django_result")
        if result is None:  # it did not get so far
            return
        object.__setattr__(result, "status", status)
        object.__setattr__(result, "finished_at", moment(self.app.clock.now_ms()))
        object.__setattr__(result, "_return_value", value)
        if error is not None:
            result.errors.extend(errors_of(Attempts(errors=[error])))
        task_finished.send(sender=type(self._backend()), task_result=result)
