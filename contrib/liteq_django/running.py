"""A task of Django's as liteq runs it: one liteq task for each, under its path."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from django.utils.module_loading import import_string

from liteq import states
from liteq.execution.plan import ExceptionInfo
from liteq_django.attempts import ATTEMPTS, HEADER, Attempts, Eager, as_sent, error_of, errors_of, moment
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

__all__ = ["EAGER", "RunsDjangoTask", "find", "registered"]

# The message that `enqueue` runs at once, with `task_always_eager`.
EAGER: ContextVar[Eager | None] = ContextVar("liteq_django_eager", default=None)


def find(name: str) -> Any:
    """The liteq task for Django's task at the path `name`, which is registered; None when there is no such."""
    try:
        found = import_string(name)
    except (ImportError, TypeError, ValueError):  # the latter two for a name that is no path, such as ".x.y"
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
        result = self._begin(args, kwargs)
        task_started.send(sender=type(backend), task_result=result)
        context = (TaskContext(task_result=result),) if self.django_task.takes_context else ()
        try:
            return normalize_json(self.django_task.call(*context, *args, **kwargs))
        except options.exceptions() as exc:
            if options.max_retries == 0:
                raise
            if (eager := self._eager()) is not None and self.request.retries < options.max_retries:
                eager.attempts.errors.append(error_of(exc, ExceptionInfo(exc).traceback))
            delay_s = options.delay_s(self.request.retries)
            headers = {**(self.request.headers or {}), ATTEMPTS: self.request.get(ATTEMPTS)}
            raise self.retry(exc=exc, countdown=delay_s, max_retries=options.max_retries, headers=headers) from exc

    def _backend(self) -> Any:
        header = (self.request.headers or {}).get(HEADER) or {}
        return task_backends[header.get("backend", self.django_task.backend)]

    def _eager(self) -> Eager | None:
        found = EAGER.get()
        return found if found is not None and found.id == self.request.id else None

    def _begin(self, args: Any, kwargs: Any) -> Any:
        """Note the attempt in the message's row; the result as it is now."""
        request, now_ms = self.request, self.app.clock.now_ms()
        record = None if request.is_eager or request.id is None else self.app.storage.reader.find(request.id)
        eager = self._eager()
        attempts = Attempts.of(record) if eager is None else eager.attempts
        attempts.begin(record, request.hostname or "eager", now_ms)
        request._beside = {"attempts": asdict(attempts)}  # with each state that the task tells of itself, too
        self.update_state(state=states.STARTED)
        result = self._result(args, kwargs, attempts, now_ms if record is None else record.created_ms)
        request.update(django_result=result, **{ATTEMPTS: asdict(attempts)})
        return result

    def _result(self, args: Any, kwargs: Any, attempts: Attempts, created_ms: int) -> Any:
        """The result of the message that runs, with the task as it was sent."""
        request, started = self.request, attempts.started_ms
        info = request.delivery_info or {}
        task = as_sent(
            self.django_task,
            (request.headers or {}).get(HEADER) or {},
            queue=info.get("queue") or self.django_task.queue_name,
            priority=info.get("priority") or 0,
        )
        return TaskResult(
            task=task,
            id=request.id,
            status=TaskResultStatus.RUNNING,
            enqueued_at=moment(created_ms),
            started_at=moment(started[0]) if started else None,
            last_attempted_at=moment(started[-1]) if started else None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=task.backend,
            errors=errors_of(attempts),
            worker_ids=attempts.workers,
        )

    # -- the end: once, whatever the number of attempts

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - a hook's arguments
        self._finished(args, kwargs, TaskResultStatus.SUCCESSFUL, retval)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002 - as above
        self._finished(args, kwargs, TaskResultStatus.FAILED, None, error_of(exc, einfo.traceback))

    def _finished(self, args: Any, kwargs: Any, status: Any, value: Any, error: list[str] | None = None) -> None:
        result = self.request.get("django_result")
        if result is None:  # its process is gone, and this is the worker's; or it did not get so far
            record = self.app.storage.reader.find(self.request.id or "")
            if record is None:
                return
            result = self._result(args, kwargs, Attempts.of(record), record.created_ms)
        object.__setattr__(result, "status", status)
        object.__setattr__(result, "finished_at", moment(self.app.clock.now_ms()))
        object.__setattr__(result, "_return_value", value)
        if error is not None:
            result.errors.extend(errors_of(Attempts(errors=[error])))
        if (eager := self._eager()) is not None:
            eager.result = result
        task_finished.send(sender=type(self._backend()), task_result=result)
