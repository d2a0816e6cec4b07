"""Task: a decorated function. Calling it, sending it, and its methods while it runs."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload
from weakref import ref

from liteq import context
from liteq.app.definitions import annotate
from liteq.app.options import AppOf, TaskOptions
from liteq.app.retrying import options_of, replacement, retry_of
from liteq.app.verbs.sending import SendingMany
from liteq.app.verbs.telling import Telling
from liteq.canvas import Signature, as_list, chunks, maybe_signature, signature, xmap, xstarmap
from liteq.context import App, Request
from liteq.exceptions import Replaced, Retry
from liteq.execution.eager import run_eagerly
from liteq.execution.plan import default_hook
from liteq.message import Replace
from liteq.result import AsyncResult, EagerResult
from liteq.sending.compile import compile_signature
from liteq.sending.options import eager_options, positional_of
from liteq.sending.overrides import pass_on
from liteq.utils.misspelt import suggesting

__all__ = ["Context", "Task"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Context = Request


class Task(TaskOptions, SendingMany, Telling, Generic[P, R]):
    """A unit of work under a name. `P` are its parameters, `R` is what it returns.

    `@app.task` makes one of a function. A class of one's own with a `run` method is the other way:
    `app.register_task(MyTask())`, or as the `base=` of decorated functions.
    """

    # -- binding

    app = AppOf()
    """The app that it is registered with; the current one where it is not."""

    @classmethod
    def _get_app(cls) -> App:
        return cls.app

    def bind(self, app: App) -> App:
        """Make `app` the one that it is sent through."""
        self._app = app
        type(self)._bound_to = ref(app)
        self.on_bound(app)
        return app

    def annotate(self) -> None:
        """Apply the setting `task_annotations` to it; happens by itself when its app is finalized."""
        annotate(self, self.app.conf.task_annotations or ())

    def on_bound(self, app: App) -> None:
        """Called when the task is bound to an app."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option. Values that were derived from the options are derived anew."""
        object.__setattr__(self, name, value)
        self._forget_derived()

    def __delattr__(self, name: str) -> None:
        """Let the class's attribute count again, as a patch of a test does at its end."""
        object.__delattr__(self, name)
        self._forget_derived()

    def _forget_derived(self) -> None:
        self.forget_plan()
        if self._app is not None and self.name is not None:
            self._app.publisher.forget(self.name)

    def has_custom_call(self) -> bool:
        return type(self).__call__ is not Task.__call__

    # -- calling

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here, as the function that it is. For `async def`, await the result."""
        frame = context.current_frame()
        if frame is not None:
            if frame[0] is self and not frame[1].called_directly and not frame[1].entered:
                frame[1].entered = True  # super().__call__() of a class of one's own, under the worker's request
                return self.run(*args, **kwargs)  # type: ignore[no-any-return]
            if frame[1]._workflow is not None:
                frame[1]._workflow.refuse_call(self)
        token = context.enter(self, Request(args=args, kwargs=kwargs))
        try:
            return self.run(*args, **kwargs)  # type: ignore[no-any-return]
        finally:
            context.leave(token)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """The body. A class of one's own defines it."""
        raise NotImplementedError("a task class defines run()")

    # -- sending

    @overload
    def delay(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]: ...
    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Send it with these arguments, to be run by a worker as soon as one is free.

        When this returns, the message is in the file. Raises TypeError when the arguments do not fit, NotSerializable
        or PayloadTooLarge for arguments that cannot be written, and StorageError.
        """
        own = self._app is not None and getattr(self.apply_async, "__func__", None) is _APPLY_ASYNC
        own = own and not (sender := self._app.sender).goes_through_app
        sent = sender.send_plain(self.name, args, kwargs) if own else None
        return self.apply_async(args, kwargs) if sent is None else sent

    @overload
    async def adelay(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> AsyncResult[T]: ...
    @overload
    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    async def adelay(self, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """`delay()` for async code: while it is written, or waits for the file's lock, others have the event loop.

        When it is cancelled meanwhile, the message was sent or was not; give it a `task_id` to be able to ask.
        """
        return await self.aapply_async(args, kwargs)

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[R]:
        """Send it, with options.

        countdown (s), eta (datetime or ISO): not before. expires (s or time): not after. queue, routing_key, priority
        (higher first), task_id, link, link_error, time_limit and soft_time_limit (s), ignore_result, headers, shadow,
        idempotent (one message under this task_id, from all senders; else one that has finished runs again), unique_key
        (while an unfinished message holds it, that one's result is returned and nothing is sent), unique (True, Unique,
        Debounce, Throttle, False), replicated (Litestream has it at the remote when this returns, else NotReplicated).
        Celery's (connection, retry, retry_policy, serializer, ...) are accepted.
        """
        positional = positional_of(args, kwargs)
        if link is not None or link_error is not None or shadow is not None:
            given = {"link": link, "link_error": link_error, "shadow": shadow}
            options |= {key: value for key, value in given.items() if value is not None}
        if (sender := self.app.sender).goes_through_app:
            return cast("AsyncResult[R]", sender.through_app(self, positional, kwargs, task_id, options))
        if self.overrides_sending:
            return cast("AsyncResult[R]", pass_on(self, positional, kwargs or {}, task_id, options))
        result: AsyncResult[R] = sender.send_call(self, self.name, positional, kwargs or {}, task_id, options)
        return result

    @property
    def overrides_sending(self) -> bool:
        """Whether its class has an `apply_async`, or its app a `send_task`, that is asked how parts of canvases go."""
        return type(self).apply_async is not _APPLY_ASYNC or self.has_own_result or self.app.sender.goes_through_app

    @property
    def has_own_result(self) -> bool:
        """Whether its class has an `AsyncResult` of its own, which makes the results of its calls."""
        return type(self).AsyncResult is not _ASYNC_RESULT

    async def aapply_async(self, *args: Any, **options: Any) -> AsyncResult[R]:
        """`apply_async()` for async code, as `adelay`."""
        from liteq.sending.awaited import send_awaited

        if context.in_workflow_body():
            return self.apply_async(*args, **options)
        return cast("AsyncResult[R]", await send_awaited(self, args, options))

    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        link: Any = None,
        link_error: Any = None,
        task_id: str | None = None,
        retries: int = 0,
        throw: bool | None = None,
        logfile: Any = None,
        loglevel: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R]:
        """Run it here and now, with hooks, signals and retries as in a worker.

        `throw` (by default the setting `task_eager_propagates`): raise its exception.
        """
        if throw is None:
            throw = bool(self.app.conf.task_eager_propagates)
        return run_eagerly(
            self, list(args or ()), dict(kwargs or {}), task_id=task_id, retries=retries, throw=throw,
            link=as_list(link), link_error=as_list(link_error), headers=headers, logfile=logfile, loglevel=loglevel,
            ignore_result=bool(options.get("ignore_result", self.ignore_result)),
            **eager_options(self, args, kwargs, options),
        )  # fmt: skip

    # -- signatures

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """This call as a value: to be sent, linked, or completed later."""
        if self.name and getattr(self.signature, "__func__", None) is _SIGNATURE:
            return Signature.of_call(self, args, kwargs, self.app)
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """As `s()`, but no result of another task is added to its arguments."""
        return self.signature(args, kwargs, immutable=True)

    def signature(self, args: Any = None, *starargs: Any, **starkwargs: Any) -> Signature:
        """As `s()`, with options: `add.signature((2, 2), countdown=10)`."""
        starkwargs.setdefault("app", self.app)
        return signature(self, args, *starargs, **starkwargs)

    subtask = signature

    def signature_from_request(
        self,
        request: Request | None = None,
        args: Any = None,
        kwargs: Any = None,
        queue: str | None = None,
        **extra_options: Any,
    ) -> Signature:
        """The call that is running, as a signature; with other arguments where given."""
        request = self.request if request is None else request
        options = {**options_of(self, request, queue), **extra_options}
        return self.signature(
            request.args if args is None else args,
            request.kwargs if kwargs is None else kwargs,
            **{key: value for key, value in options.items() if value is not None},
        )

    subtask_from_request = signature_from_request

    @suggesting
    def map(self, it: Iterable[Any]) -> Any:
        """One message that calls it with each element, one after the other."""
        return xmap(self.s(), list(it), app=self.app)

    @suggesting
    def starmap(self, it: Iterable[Any]) -> Any:
        """As `map`, with each element's items as the arguments."""
        return xstarmap(self.s(), list(it), app=self.app)

    @suggesting
    def chunks(self, it: Iterable[Any], n: int) -> Any:
        """One message for each `n` elements of `it`."""
        return chunks(self.s(), it, n, app=self.app)

    # -- while it runs

    @property
    def request(self) -> Request:
        """The request of the execution that is running; an empty one when none is."""
        running = context.request_of(self)
        if running is None:
            running = self.__dict__.get("_default_request")
            if running is None:
                running = self.__dict__["_default_request"] = Request()
        return running

    @property
    def request_stack(self) -> context.RequestStack:
        """The requests under which it runs: `top`, `push(request)`, `pop()`."""
        return context.RequestStack(self)

    def push_request(self, *args: Any, **kwargs: Any) -> None:
        """Let it believe that it runs under such a request, until `pop_request()`; for tests."""
        context.enter(self, Request(*args, **kwargs))

    def pop_request(self) -> Request | None:
        """Undo the last `push_request()`."""
        return context.pop()

    @default_hook
    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | type[BaseException] | None = None,
        throw: bool = True,
        eta: datetime | str | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Retry:
        """Run this message again: `raise self.retry(exc=exc)`.

        After `countdown` seconds, at `eta`, or after `default_retry_delay`; where given with other arguments, `queue`,
        `priority`, `expires`, time limits or headers. The worker learns of it by the exception, so nothing after this
        call runs, unless `throw=False`. Raises `exc`, else MaxRetriesExceededError, when that would be one retry more
        than `max_retries`. Called outside of an execution, it raises `exc`.
        """
        request = self.request
        exc = exc() if isinstance(exc, type) else exc
        if request.called_directly:
            raise exc or Retry("Task can be retried", None)
        retry = retry_of(self, request, (args, kwargs), exc, countdown if eta is None else eta, max_retries, options)
        if throw:
            raise retry
        request.pending_retry = retry
        return retry

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add `sig` to the group whose member is running, so that a chord's body waits for it too; its result.

        With `lazy` nothing is sent: the signature is returned, and sending it adds it. Raises ValueError outside of a
        group, and where all its members have finished already.
        """
        request = self.request
        if not request.group:
            raise ValueError("add_to_chord() is for a task that is a member of a group or a chord")
        sig = maybe_signature(sig, app=self.app)
        if lazy:
            return sig.set(add_to_group=request.group)
        return self.app.sender.send_as_member(sig, request.group)

    def replace(self, sig: Any) -> Any:
        """Let `sig` take this message's place: `raise self.replace(sig)`.

        The callers that wait for this message, and the tasks that were to come after it, get the result of `sig`, a
        group's as a list. Raises Replaced, which the worker understands; an eager task returns the result instead.
        """
        return self.on_replace(replacement(self, sig))

    def on_replace(self, sig: Any) -> Any:
        """Do what `replace()` does; one of your own ends with `return super().on_replace(sig)`."""
        request = self.request
        if request.is_eager:
            with context.allow_join_result():
                return self.app.sender.apply_signature(sig).get()
        compiled = compile_signature(
            sig, self.app.publisher, root_id=request.root_id, parent_id=request.id, linked=True, depth=request.depth
        )
        raise Replaced(Replace(compiled.batch, compiled.node.id))

    def add_trail(self, result: Any) -> Any:
        """Remember `result` as sent by the execution that is running."""
        if self.trail:
            self.request.children.append(result)
        return result

    # -- results

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult[R]:  # noqa: N802 - Celery's name
        """The result of the message `task_id` of this task."""
        return AsyncResult(task_id, task_name=self.name, app=self.app, **kwargs)

    @property
    def backend(self) -> Any:
        return self.app.backend

    def __reduce__(self) -> Any:
        return _task_of, (self.name,)

    def __repr__(self) -> str:
        return f"<@task: {self.name}>" if self._app is None else f"<@task: {self.name} of {self._app.main}>"


_APPLY_ASYNC, _ASYNC_RESULT, _SIGNATURE = Task.apply_async, Task.AsyncResult, Task.signature


def _task_of(name: str) -> Any:
    """A pickled task is its name; the current app knows the rest."""
    return context.get_current_app().tasks[name]
