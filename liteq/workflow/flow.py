"""`Workflow`: a function whose execution is durable. It is among `app.tasks`, and is sent as they are."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload
from uuid import UUID

from liteq.canvas import Signature, signature
from liteq.clock import to_ms
from liteq.exceptions import WorkflowError
from liteq.message import Flag, Message, RunSpec, new_id
from liteq.policy.keyed import Spec
from liteq.serialization import encode
from liteq.storage.runs.starting import check_conflict
from liteq.utils.misspelt import suggesting, unexpected
from liteq.utils.names import checked_id, checked_name, checked_priority
from liteq.workflow.as_task import AsATask
from liteq.workflow.budgets import Budget, checked_budget, limits_of
from liteq.workflow.codec import Codec
from liteq.workflow.duration import Duration, limit_ms, seconds
from liteq.workflow.frames import here
from liteq.workflow.lint import warn_of
from liteq.workflow.step import refuse_generator

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.workflow.run import Run

__all__ = ["OnConflict", "Workflow"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OnConflict = Literal["fail", "existing", "renew", "replace"]
OF_KEYS = frozenset({"max_concurrency", "concurrency_key", "limits", "fair_key", "unique"})
OF_SENDING = frozenset({"countdown", "eta", "queue", "priority", "expires", "timeout"}) | OF_KEYS
OF_A_GRAPH = frozenset({"link", "link_error", "root_id", "parent_id", "headers"})


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of a start."""

    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: Duration | None = None
    eta: datetime | None = None
    expires: Duration | datetime | None = None
    on_conflict: OnConflict = "fail"
    event: tuple[str, Any] | None = None
    tags: tuple[str, ...] = ()
    keyed: Mapping[str, Any] = field(default_factory=dict)
    """The options of OF_KEYS, of this start alone."""
    budget: Budget | None = None
    """Its own, in place of the workflow's."""
    timeout: Duration | None = None
    """Its own, in place of the workflow's."""


class Workflow(AsATask, Generic[P, R]):
    """A function that is run again after each wait and each crash, with its calls answered from a stored history.

    `@app.workflow` makes one. `start` begins a run; called as a function it raises WorkflowError.
    """

    __wrapped__: Callable[..., Any]
    __name__: str

    @suggesting
    def __init__(
        self,
        app: App,
        function: Callable[P, R],
        name: str,
        *,
        version: str = "1",
        queue: str | None = None,
        priority: int = 0,
        timeout: Duration | None = None,
        max_concurrency: int | None = None,
        concurrency_key: Spec | None = None,
        limits: Spec | Sequence[Spec] = (),
        fair_key: Spec | None = None,
        unique: Any = None,
        sensitive: bool | Sequence[str] = (),
        budget: Budget | None = None,
    ) -> None:
        refuse_generator(function, "the workflow")
        functools.update_wrapper(self, function)
        self.app = app
        self.run = self.function = function
        self.name = checked_name(name, "a workflow's name")
        self.version = checked_name(str(version), "a workflow's version")
        self.queue = None if queue is None else checked_name(queue, "a queue's name")
        self.priority = checked_priority(priority)
        self.timeout = timeout
        timeout_ms = None if timeout is None else limit_ms(timeout, f"the timeout of workflow {name!r}")
        self.max_concurrency, self.concurrency_key = max_concurrency, concurrency_key
        self.limits, self.fair_key, self.unique = limits, fair_key, unique
        self.budget = checked_budget(budget)
        self.sensitive = sensitive if isinstance(sensitive, (bool, str)) else tuple(sensitive)
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.codec = Codec(function, f"workflow {name!r}")
        self.dump_models = self.codec.dump
        self.parameters = self.codec.parameters
        spendable = () if self.budget is None else limits_of(self.budget)
        self.run_spec = RunSpec(self.version, timeout_ms, budget=spendable)
        self.asked = Asked()
        warn_of(function)

    # -- as a task ---------------------------------------------------------------------------------------------------

    def bind(self, app: App) -> App:
        """Make `app` the one that it is sent through."""
        self.app = app
        return app

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError when it cannot be called with these."""
        self.parameters.check(args, kwargs)

    def redacted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, in_front: tuple[int, int] | None = (0, 0)
    ) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as others may see them: `***` for each that `sensitive` names."""
        if not self.sensitive:
            return list(args), dict(kwargs)
        if in_front is None:
            in_front = (0, self.parameters.positional_left(args, kwargs))
        return self.parameters.redacted(self.sensitive, args, kwargs, in_front=in_front)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Refuse: a run is started, or called by another one. Raises WorkflowError."""
        if here() is not None:
            raise WorkflowError(
                f"the workflow {self.name!r} was called as a function inside a run: `ctx.call({self.__name__}, ...)` "
                "runs it and waits for it, `ctx.spawn` does not wait"
            )
        raise WorkflowError(
            f"the workflow {self.name!r} was called as a function: `{self.__name__}.start(...)` begins a run of it, "
            "WorkflowTest(app).run(...) runs it in a test"
        )

    # -- options -----------------------------------------------------------------------------------------------------

    @suggesting
    def options(
        self,
        *,
        id: str | UUID | None = None,
        queue: str | None = None,
        priority: int | None = None,
        delay: Duration | None = None,
        eta: datetime | None = None,
        expires: Duration | datetime | None = None,
        on_conflict: OnConflict = "fail",
        event: tuple[str, Any] | None = None,
        tags: Iterable[str] = (),
        unique: Any = None,
        budget: Budget | None = None,
        timeout: Duration | None = None,
    ) -> Workflow[P, R]:
        """The same workflow, to be started with these: `flow.options(id="order-7").start(order)`.

        id: the run's, and its idempotency key. delay, eta: not before. expires: not begun after. on_conflict, where the
        id exists: "fail" (that run if workflow and input are the same, else RunConflict), "existing" (that run),
        "renew" (that run while it lives, else a new one), "replace" (a new one, the old one terminated). event=(name,
        payload): sent to that run in the same transaction. tags: words by which `app.runs` finds it. unique: as
        of a task, in the place of the workflow's own. budget, timeout: in the place of the workflow's own.
        """
        check_conflict(on_conflict)
        if delay is not None:
            seconds(delay, "delay")
        if expires is not None and not isinstance(expires, datetime):
            seconds(expires, "expires")
        if timeout is not None:
            limit_ms(timeout, "timeout")
        if isinstance(eta, datetime) and eta.tzinfo is None:
            raise ValueError(f"eta={eta!r}: a naive datetime names no moment; add its zone")
        if isinstance(tags, str):
            raise TypeError(f"tags is a list of words, not {tags!r}")
        given: Any = event
        if given is not None and (not isinstance(given, tuple) or len(given) != 2):
            raise TypeError(f"event is (name, payload), not {event!r}")
        asked = Asked(
            None if id is None else checked_id(id),
            None if queue is None else checked_name(queue, "a queue's name"),
            None if priority is None else checked_priority(priority),
            delay, eta, expires, on_conflict, event, tuple(checked_name(tag, "a tag") for tag in tags),
            {} if unique is None else {"unique": unique}, checked_budget(budget), timeout,
        )  # fmt: skip
        return self._asking(asked)

    def _asking(self, asked: Asked) -> Workflow[P, R]:
        other: Workflow[P, R] = object.__new__(Workflow)
        other.__dict__.update(self.__dict__)
        other.asked = asked
        return other

    def message(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], *, id_: str, root_id: str | None = None,
        parent_id: str | None = None,
    ) -> Message:  # fmt: skip
        """The row of a run with these arguments. Raises TypeError where they do not fit, NotSerializable."""
        asked = self.asked
        options: dict[str, Any] = {}
        if asked.queue is not None:
            options["queue"] = asked.queue
        if asked.priority is not None:
            options["priority"] = asked.priority
        if asked.delay is not None:
            options["countdown"] = seconds(asked.delay, "delay")
        if asked.eta is not None:
            options["eta"] = asked.eta
        if asked.expires is not None:
            expires = asked.expires
            options["expires"] = expires if isinstance(expires, datetime) else seconds(expires, "expires")
        options |= asked.keyed
        message: Message = self.app.publisher.message(
            self.name, args, kwargs, options, message_id=id_, root_id=root_id, parent_id=parent_id
        )
        message.flags |= Flag.RUN
        own = self.run_spec.budget if asked.budget is None else limits_of(asked.budget)
        timeout_ms = self.run_spec.timeout_ms if asked.timeout is None else limit_ms(asked.timeout, "timeout")
        message.run = replace(self.run_spec, tags=asked.tags, budget=own, timeout_ms=timeout_ms)
        return message

    # -- starting ----------------------------------------------------------------------------------------------------

    @overload
    def start(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Run[T]: ...
    @overload
    def start(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    def start(self, *args: Any, **kwargs: Any) -> Run[Any]:
        """Start a run with these arguments; when this returns, it is in the file.

        Raises RunConflict (see `options`), TypeError when the arguments do not fit, NotSerializable, StorageError.
        Inside a body it is recorded, done once, and detached.
        """
        from liteq.workflow.starting import start_run

        return start_run(self, args, kwargs)

    @overload
    def delay(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Run[T]: ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    def delay(self, *args: Any, **kwargs: Any) -> Run[Any]:
        """`start`, by the name that tasks have."""
        return self.start(*args, **kwargs)

    @overload
    async def astart(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Run[T]: ...
    @overload
    async def astart(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    async def astart(self, *args: Any, **kwargs: Any) -> Run[Any]:
        """`start` for async code: others have the event loop while it is written."""
        from liteq.workflow.starting import start_run

        frame = here()
        if frame is not None and hasattr(frame, "branch"):
            return start_run(self, args, kwargs)
        from liteq.utils.async_threads import writing

        return await writing(self.app, start_run, self, args, kwargs)

    @overload
    async def adelay(self: Workflow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Run[T]: ...
    @overload
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    async def adelay(self, *args: Any, **kwargs: Any) -> Run[Any]:
        """`astart`, by the name that tasks have."""
        return await cast("Workflow[Any, Any]", self).astart(*args, **kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> Run[R]:
        """`start` with arguments as a list and a dict, and a task's options.

        task_id: the run's id, by `on_conflict`; countdown (s), eta, queue, priority, expires, timeout; max_concurrency,
        concurrency_key, limits, fair_key, unique.
        """
        from liteq.workflow.starting import start_run

        options = {key: value for key, value in options.items() if value is not None}
        if not OF_A_GRAPH.isdisjoint(options):
            over = {**options, "task_id": task_id} if task_id else options
            return self._run_of(self.app.sender.send_signature(self.signature(args, kwargs, **over)).id)
        if not options.keys() <= OF_SENDING:
            raise unexpected(f"workflow {self.name!r}", options.keys() - OF_SENDING, OF_SENDING)
        if "countdown" in options:
            options["delay"] = options.pop("countdown")
        keyed = {key: options.pop(key) for key in OF_KEYS & options.keys()}
        options["keyed"] = {**self.asked.keyed, **keyed}
        asked = replace(self.asked, **options)
        if task_id is not None:
            asked = replace(asked, id=checked_id(task_id))
        if isinstance(asked.eta, datetime) and asked.eta.tzinfo is None:
            to_ms(asked.eta)  # as of a task: UTC
        return start_run(self._asking(asked), tuple(args or ()), dict(kwargs or {}))

    def apply(self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it here and now, as `WorkflowTest` does; its EagerResult. `throw`: raise its exception."""
        from liteq.workflow.inplace import apply_eagerly

        return apply_eagerly(self, tuple(args or ()), dict(kwargs or {}), options)

    async def aapply_async(self, *args: Any, **options: Any) -> Run[R]:
        """`apply_async` for async code."""
        from liteq.utils.async_threads import writing

        return await writing(self.app, self.apply_async, *args, **options)

    # -- signatures --------------------------------------------------------------------------------------------------

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """This call as a value: a link of a chain, a member of a group, a chord's body."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """As `s()`, but no result of another task is added to its arguments."""
        return self.signature(args, kwargs, immutable=True)

    def signature(self, args: Any = None, kwargs: Any = None, **options: Any) -> Signature:
        """As `s()`, with options: `flow.signature((order,), countdown=10)`."""
        asked = self.asked
        given: dict[str, Any] = {
            "task_id": asked.id,
            "queue": asked.queue,
            "priority": asked.priority,
            "eta": asked.eta,
            "tags": [*asked.tags] or None,
            "timeout": asked.timeout,
            **asked.keyed,
        }
        if asked.delay is not None:
            given["countdown"] = seconds(asked.delay, "delay")
        options = {"app": self.app, **{key: one for key, one in given.items() if one is not None}, **options}
        found: Signature = signature(self, args, kwargs, **options)
        return found

    subtask = signature

    # -- runs --------------------------------------------------------------------------------------------------------

    def _run_of(self, id_: str) -> Run[Any]:
        from liteq.workflow.run import Run

        return Run(self.app, id_, self)

    @property
    def Run(self) -> Callable[[str], Run[R]]:  # noqa: N802 - the name of what it makes
        """Makes the Run of an id: `flow.Run("order-7")`. Nothing is read."""
        return self._run_of

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:  # noqa: N802 - a task's name
        """The result of the run as that of a message."""
        from liteq.result import AsyncResult

        return AsyncResult(task_id, task_name=self.name, app=self.app, **kwargs)

    def new_id(self) -> str:
        """The id of the next run: the one that was asked for, else a new one."""
        return self.asked.id or new_id()

    def event_of(self) -> tuple[str, bytes] | None:
        """The event that is to be sent with the start, its payload as JSON."""
        event = self.asked.event
        if event is None:
            return None
        name = checked_name(event[0], "an event's name")
        return name, encode(event[1], what=f"the payload of the event {name!r}", limit=self.app.conf.max_payload_bytes)

    def __repr__(self) -> str:
        return f"<@workflow: {self.name} version {self.version}>"

    def __reduce__(self) -> Any:
        return _flow_of, (self.name,)


def _flow_of(name: str) -> Any:
    """A pickled workflow is its name; the current app knows the rest."""
    from liteq.context import get_current_app

    return get_current_app().tasks[name]
