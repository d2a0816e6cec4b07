"""The options of a task, with their defaults, and the hooks that a class of one's own may override."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from liteq.context import App, Request, get_current_app
from liteq.exceptions import ImproperlyConfigured, MaxRetriesExceededError, OperationalError
from liteq.execution.plan import Plan, default_hook
from liteq.policy.arguments import REDACTED, Parameters
from liteq.policy.batches import BatchTerms, any_call, batch_terms

__all__ = ["AppOf", "TaskOptions"]


class _Setting:
    """An attribute whose value is a setting's, as long as neither the class nor the task says otherwise."""

    def __init__(self, name: str) -> None:
        self.setting = name

    def __get__(self, task: Any, owner: type) -> Any:
        return None if task is None else getattr(task.app.conf, self.setting, None)


class AppOf:
    """`task.app`: the app that a task is registered with; the current one where it is not.

    Class methods of a base class ask for `cls.app`: that is the app with which a task of the class was registered last.
    """

    def __get__(self, task: TaskOptions | None, owner: type[TaskOptions]) -> App:
        app: App | None = owner._bound_to() if task is None else task._app
        return get_current_app() if app is None else app

    def __set__(self, task: TaskOptions, app: App | None) -> None:
        task._app = app


def _unbound() -> None:
    return None


def _batch_plan(task: TaskOptions) -> Plan:
    from liteq.execution.batch import BatchPlan

    return BatchPlan(task)


class TaskOptions:
    """The options and hooks of `Task`. Options are set on a class, by the decorator, or on a task itself."""

    # -- options, of the class or of the decorator; None or a setting's value where they do not say

    name: str | None = None
    abstract: ClassVar[bool] = True
    typing: bool = True
    """Whether `delay()` checks the arguments against the parameters."""
    max_retries: int | None = 3
    """How often `retry()` may be called; None for ever."""
    default_retry_delay: float = 3 * 60
    """Seconds between a failure and its retry."""
    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    retry_kwargs: Mapping[str, Any] = {}
    retry_backoff: bool | int | float = False
    """True, or the seconds of the first delay: each later one is twice as long."""
    retry_backoff_max: float = 600
    retry_jitter: bool = True
    throws: tuple[type[BaseException], ...] = ()
    """Exceptions that are no surprise: logged without a traceback, at INFO."""
    queue: Any = None
    exchange: Any = None
    routing_key: str | None = None
    priority: Any = None
    """0 to 9, and any other integer: the higher goes first."""
    expires: Any = None
    """Seconds from the sending, or a time, after which it is not started any more."""
    time_limit: float | None = None
    """Seconds after which its process is killed."""
    soft_time_limit: float | None = None
    """Seconds after which SoftTimeLimitExceeded is raised in it."""
    sensitive: bool | tuple[str, ...] = ()
    """Parameters whose arguments are hidden wherever a person looks: logs, lists, monitors, reprs; True for all."""
    pydantic: bool = False
    """Whether models among the arguments are sent as plain data, and validated before the body."""
    dump_models: ClassVar[Any] = None
    trail: bool = True
    serializer: Any = _Setting("task_serializer")
    compression: Any = _Setting("task_compression")
    rate_limit: Any = _Setting("task_default_rate_limit")
    global_rate_limit: Any = None
    """As `rate_limit`, for all workers on the file together; `app.control.global_rate_limit()` changes it."""
    rate_key: Any = None
    """The key for each value of which `global_rate_limit` is counted apart: "region:{region}", or a function."""
    max_concurrency: int | None = None
    """How many of its messages run at once, over all workers."""
    concurrency_key: Any = None
    """The key for each value of which `max_concurrency` is counted apart: "user:{user_id}", or a function."""
    limits: Any = ()
    """Further keys that it is counted by, together with other tasks; `app.limits` sets their limits."""
    fair_key: Any = None
    """The key whose values take turns within queue and priority: "{tenant}", or a function."""
    unique: Any = None
    """True, or a `Unique`, `Debounce` or `Throttle`: which calls exclude others; True: one of equal arguments."""
    replicated: bool = False
    """Whether each of its calls returns only when Litestream has its message at the remote (`litestream_socket`)."""
    batch: int | None = None
    """How many messages at most go into one call of its function, which takes a list of `BatchItem`."""
    batch_wait: float = 0.5
    """Seconds that the first message of a batch waits for others."""
    batch_key: str | None = None
    """A template such as "{shop}" over named arguments: only messages with equal keys go into one batch."""
    log_keep: Any = _Setting("task_log_keep")
    """How long its log is kept in the file after its end: seconds, a timedelta, "1d"; 0: not at all."""
    tags: Any = ()
    """Words by which a search finds its messages."""
    isolate: bool = False
    """Whether each of its runs has a process of its own, which ends after it."""
    ignore_result: Any = _Setting("task_ignore_result")
    track_started: Any = _Setting("task_track_started")
    acks_late: Any = _Setting("task_acks_late")
    reject_on_worker_lost: Any = _Setting("task_reject_on_worker_lost")
    acks_on_failure: Any = _Setting("task_acks_on_failure")
    acks_on_failure_or_timeout: Any = _Setting("task_acks_on_failure_or_timeout")
    acks_on_timeout: Any = _Setting("task_acks_on_timeout")
    retry_on_worker_lost: Any = _Setting("task_retry_on_worker_lost")
    store_errors_even_if_ignored: Any = _Setting("task_store_errors_even_if_ignored")
    store_eager_result: Any = _Setting("task_store_eager_result")
    send_events: bool = True
    resultrepr_maxsize: int = 1024

    Request: ClassVar[Any] = Request
    MaxRetriesExceededError: ClassVar[Any] = MaxRetriesExceededError
    OperationalError: ClassVar[type[Exception]] = OperationalError

    _app: Any = None
    _bound_to: ClassVar[Callable[[], Any]] = staticmethod(_unbound)  # a weak reference, once there is a task of it
    _is_plain_function: ClassVar[bool] = False  # decorated, and without `bind`
    _is_shared: ClassVar[bool] = False  # decorated, and other apps of the process may run it
    __wrapped__: Callable[..., Any]

    # -- derived from them, once

    run: Callable[..., Any]

    @property
    def plan(self) -> Plan:
        """Its body, hooks and options, for an execution. A task may not define `plan`: liteq uses that name."""
        try:
            plan: Plan = self.__dict__["_plan"]
        except KeyError:
            plan = self.__dict__["_plan"] = Plan(self) if self.batch is None else _batch_plan(self)
        return plan

    def forget_plan(self) -> None:
        """Have it work out anew how it is executed."""
        self.__dict__.pop("_plan", None)

    @property
    def parameters(self) -> Parameters:
        """The parameters of its calls: those of its body, and any of one that takes batches."""
        try:
            parameters: Parameters = self.__dict__["_parameters"]
        except KeyError:
            body = self.run if self.batch is None else any_call
            parameters = self.__dict__["_parameters"] = Parameters(self.name or "task", body)
        return parameters

    @property
    def batch_terms(self) -> BatchTerms | None:
        """The terms on which it takes batches; None: it takes none. Raises ImproperlyConfigured for options that are
        no terms.
        """
        try:
            return batch_terms(self.name, self.batch, self.batch_wait, self.batch_key)
        except (TypeError, ValueError) as exc:
            raise ImproperlyConfigured(str(exc)) from None

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when it cannot be called with these."""
        self.parameters.check(args, kwargs)

    @property
    def checks_by_count(self) -> bool:
        """Whether `check_arguments` looks at no more than the number of positional arguments, where there are no other.

        Not where its class has a `check_arguments` of its own.
        """
        return type(self).check_arguments is TaskOptions.check_arguments

    def takes_failure(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> bool:
        """Whether, as an errback, it is called with `(request, exc, traceback)` and not with an id, as in Celery.

        `args` and `kwargs`: those that its signature has itself.
        """
        if self.batch is not None or not self._is_plain_function:
            return False
        return self.parameters.positional_left(args, kwargs or {}) > 1

    def redacted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, in_front: tuple[int, int] | None = (0, 0)
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as others may see them: `***` for each that `sensitive` names; of one with `batch`, which has no
        parameters, also for all that have no name.

        `in_front`: how many arguments, at least and at most, the call will have before these; None: as many as fit.
        """
        if not self.sensitive:
            return list(args), dict(kwargs)
        if in_front is None:
            in_front = (0, self.parameters.positional_left(args, kwargs))
        plain, named = self.parameters.redacted(self.sensitive, args, kwargs, in_front=in_front)
        return (plain, named) if self.batch is None else ([REDACTED] * len(args), named)

    # -- hooks. Those of this class are never called: an execution looks which are overridden.

    @default_hook
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Called before the body, as a part of it."""

    @default_hook
    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Called when it returned, before that is written."""

    @default_hook
    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when it is to be run again."""

    @default_hook
    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called when it failed for good."""

    @default_hook
    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Called after success and after failure."""

    @default_hook
    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str | None:
        """Another name for this call in logs."""
        return None
