"""`Workflow`: a function whose execution is durable. It is among `app.tasks`, and is sent as they are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, cast, overload

from liteq.canvas import Signature, signature
from liteq.clock import to_ms
from liteq.context import get_current_app
from liteq.exceptions import WorkflowError
from liteq.result import AsyncResult
from liteq.utils.durations import seconds
from liteq.utils.misspelt import unexpected
from liteq.utils.names import checked_id
from liteq.workflow.client.run import Run
from liteq.workflow.client.starting import start_run
from liteq.workflow.declared.declaration import Declaration, OnConflict
from liteq.workflow.history.frames import here

__all__ = ["OnConflict", "Workflow"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

OF_KEYS = frozenset({"max_concurrency", "concurrency_key", "limits", "fair_key", "unique"})
OF_SENDING = frozenset({"countdown", "eta", "queue", "priority", "expires", "timeout"}) | OF_KEYS
OF_A_GRAPH = frozenset({"link", "link_error", "root_id", "parent_id", "headers"})


class Workflow(Declaration[P, R]):
    """A function that is run again after each wait and each crash, with its calls answered from a stored history.

    `@app.workflow` makes one. `start` begins a run; called as a function it raises WorkflowError.
    """

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
        frame = here()
        if frame is not None and hasattr(frame, "branch"):
            return start_run(self, args, kwargs)
        from liteq.utils.async_threads import writing  # it brings asyncio

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
        from liteq.workflow.client.inplace import apply_eagerly  # it brings what executes

        return apply_eagerly(self, tuple(args or ()), dict(kwargs or {}), options)

    async def aapply_async(self, *args: Any, **options: Any) -> Run[R]:
        """`apply_async` for async code."""
        from liteq.utils.async_threads import writing  # it brings asyncio

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
        if asked.on_conflict != "fail" or asked.event is not None or asked.budget is not None:
            raise WorkflowError(
                f"workflow {self.name!r}: on_conflict=, event= and budget= are for start(); a part of a canvas, or an "
                "entry of a schedule, has none"
            )
        given: dict[str, Any] = {
            "task_id": asked.id,
            "queue": asked.queue,
            "priority": asked.priority,
            "eta": asked.eta,
            "expires": asked.expires
            if asked.expires is None or isinstance(asked.expires, datetime)
            else seconds(asked.expires, "expires"),
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
        return Run(self.app, id_, self)

    @property
    def Run(self) -> Callable[[str], Run[R]]:  # noqa: N802 - the name of what it makes
        """Makes the Run of an id: `flow.Run("order-7")`. Nothing is read."""
        return self._run_of

    def AsyncResult(self, task_id: str, **kwargs: Any) -> Any:  # noqa: N802 - a task's name
        """The result of the run as that of a message."""
        return AsyncResult(task_id, task_name=self.name, app=self.app, **kwargs)

    def __repr__(self) -> str:
        return f"<@workflow: {self.name} version {self.version}>"

    def __reduce__(self) -> Any:
        return _flow_of, (self.name,)


def _flow_of(name: str) -> Any:
    """A pickled workflow is its name; the current app knows the rest."""
    return get_current_app().tasks[name]
