"""`ctx`: what a body and a step may ask of their run. Of async bodies it is `actx`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, MutableMapping, Sequence
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, Literal, NoReturn, ParamSpec, TypeVar, overload
from uuid import UUID

from liteq.canvas import Signature
from liteq.exceptions import WorkflowError
from liteq.serialization import encode
from liteq.utils.durations import Duration
from liteq.workflow.calling import children, effects, waits
from liteq.workflow.calling.handles import Failure, Handle
from liteq.workflow.calling.saga import Saga, Shield
from liteq.workflow.calling.scope import Scope
from liteq.workflow.calling.waits import NOTHING, Approval
from liteq.workflow.declared.adhoc import as_step, named_step
from liteq.workflow.declared.step_options import StepOptions
from liteq.workflow.history.frames import here, outside
from liteq.workflow.stepping.inside import StepFrame

__all__ = ["Common", "Context", "ctx"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
D = TypeVar("D")
F = TypeVar("F", bound=Callable[..., Any])


class BodyLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that is silent during a replay."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(_LOGGER, {"run_id": scope.machine.run_id, "workflow": scope.machine.lease.task})
        self._scope = scope

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return not self._scope.passed() and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


_LOGGER = logging.getLogger("liteq.workflow.client.run")


class Common:
    """The part of ctx and actx that neither writes nor waits."""

    _name = "ctx"
    _is_async = False

    def _frame(self, what: str) -> Any:
        frame = here()
        if frame is None:
            raise outside(f"{self._name}.{what}")
        return frame

    def _body(self, what: str) -> Scope:
        frame = self._frame(what)
        if not isinstance(frame, Scope):
            frame.refuse(f"{self._name}.{what}")
        machine = frame.machine
        if machine.is_async is not self._is_async:
            other = "actx" if machine.is_async else "ctx"
            kind = "an async body" if machine.is_async else "a body that is not async"
            raise WorkflowError(f"{self._name}.{what} in {kind}: use {other}.{what}")
        machine.check()
        scope: Scope = frame
        return scope

    def _any(self, what: str) -> Scope | StepFrame:
        frame = self._frame(what)
        return self._body(what) if isinstance(frame, Scope) else frame

    @property
    def place(self) -> Literal["body", "step"] | None:
        """The place of the code that asks: "body", "step", or None outside a run. Never raises."""
        frame = here()
        return None if frame is None else "body" if isinstance(frame, Scope) else "step"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._any("run_id").machine.run_id

    @property
    def attempt(self) -> int:
        """In a step: which attempt this is, from 1. In a body: one more than the crashes and retries before."""
        frame = self._any("attempt")
        if isinstance(frame, StepFrame):
            return frame.attempt
        return frame.machine.lease.crashes + frame.machine.lease.retries + 1

    @property
    def step_key(self) -> str:
        """A key for other systems, unique to the run and the next step (in a step: to this one); the same for ever."""
        frame = self._any("step_key")
        return frame.step_key if isinstance(frame, StepFrame) else frame.step_key()

    @property
    def logger(self) -> Any:
        """A logger; in a body it is silent during a replay."""
        frame = self._any("logger")
        return _LOGGER if isinstance(frame, StepFrame) else BodyLogger(frame)

    @property
    def version(self) -> str:
        """The version with which the run was started."""
        return self._body("version").machine.facts.version

    @property
    def replaying(self) -> bool:
        """Whether the run has been here before."""
        return self._body("replaying").passed()

    @property
    def history_length(self) -> int:
        """How many calls the body has made so far: the same in each replay, so a body may continue_as_new by it."""
        length: int = self._body("history_length").machine.calls
        return length

    @property
    def tx(self) -> Any:
        """In a step with tx=: `execute(sql, params) -> rows` in the queue's file, or the connection of its database."""
        frame = self._frame("tx")
        if isinstance(frame, Scope):
            frame.refuse(f"{self._name}.tx")
        return frame.tx

    def spend(
        self, *, model: str | None = None, input_tokens: int = 0, output_tokens: int = 0, cache_read: int = 0,
        cache_write: int = 0, cost: Decimal | str | int | None = None, requests: int = 1, **details: Any,
    ) -> None:  # fmt: skip
        """In a step: note what one answer of a model, or of another service that costs, has taken.

        It is written with the record of the step, once, and never by a replay; of an attempt that failed, too. cost:
        a Decimal or its text; without it the price of the package `genai-prices`, where that is installed and knows the
        model; else it is not known, and is not taken for 0. details: anything more, as JSON. Raises TypeError for a
        float of money, ValueError.
        """
        frame = self._frame("spend()")
        if isinstance(frame, Scope):
            frame.refuse(f"{self._name}.spend()")
        tokens = {
            "input_tokens": input_tokens, "output_tokens": output_tokens, "cache_read_tokens": cache_read,
            "cache_write_tokens": cache_write,
        }  # fmt: skip
        frame.spend(model, requests, tokens, cost, details)

    def cancelled(self) -> bool:
        """In a step: whether a cancel of the run was requested. Costs one read of the file."""
        frame = self._frame("cancelled()")
        if isinstance(frame, Scope):
            frame.refuse(f"{self._name}.cancelled()")
        return bool(frame.cancelled())

    def now(self) -> datetime:
        """The time at which the last recorded call ended, or the run began: aware, in UTC, the same in each replay."""
        return self._body("now()").now()

    def uuid(self) -> UUID:
        """A UUID that is the same in each replay."""
        return self._body("uuid()").uuid()

    @property
    def random(self) -> Random:
        """Random numbers that are the same in each replay."""
        return self._body("random").random()

    def patched(self, id: str) -> bool:
        """False if the run passed this line before the patch was deployed, else True: `if ctx.patched("fees"): ...`."""
        return self._body("patched()").patched(id)

    def timer(self, duration: Duration) -> Handle[None]:
        """A handle that ends after `duration`, for a race."""
        return children.timer(self._body("timer()"), duration)

    def event(self, name: str, *, type: Any = None) -> Handle[Any]:
        """A handle that ends with the next event `name`, for a race."""
        return children.event(self._body("event()"), name, type=type)


class Context(Common):
    """`ctx`, in a body that is not async and in steps."""

    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run any function as a step: `ctx.run(fetch, url)`."""
        scope = self._body("run()")
        return scope.call_step(as_step(scope.machine.app, fn), args, kwargs)  # type: ignore[no-any-return]

    def step(
        self, name: str, fn: Callable[..., R], *, key: str | None = None, args: Sequence[Any] = (),
        options: StepOptions | None = None,
    ) -> R:  # fmt: skip
        """Run `fn(*args)` as the step `name`: `ctx.step("charge", charge, key=order.id, args=(order,))`.

        For calls whose steps a program makes as it goes. args: what a replay compares, too; a function that takes no
        argument is called without. key: as of `step.options`. options: those of `@app.step`, as StepOptions(retries=3).
        """
        scope = self._body("step()")
        step = named_step(scope.machine.app, name, fn, key, args, options, is_async=False)
        return scope.call_step(step, args, {})  # type: ignore[no-any-return]

    @overload
    def call(self, target: Signature, /) -> Any: ...
    @overload
    def call(self, target: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def call(self, target: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def call(self, target: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a task, a workflow, a step or a whole canvas in the pool and wait for it: its result.

        Its failure is raised.
        """
        return children.call(self._body("call()"), target, *args, **kwargs)

    @overload
    def spawn(self, target: Signature, /) -> Handle[Any]: ...
    @overload
    def spawn(self, target: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    def spawn(self, target: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    def spawn(self, target: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Start a call without waiting for it, and return its handle.

        If the call is unfinished when the run ends, it is cancelled.
        """
        return children.spawn(self._body("spawn()"), target, *args, **kwargs)

    @overload
    def gather(self, handles: Iterable[Handle[R]], *, on_error: Literal["raise", "wait"] = "raise") -> list[R]: ...
    @overload
    def gather(self, handles: Iterable[Handle[R]], *, on_error: Literal["collect"]) -> list[R | Failure]: ...
    def gather(self, handles: Iterable[Handle[Any]], *, on_error: str = "raise") -> Any:
        """The results of all, in their order.

        on_error: "raise": the first failure cancels the rest; "wait": all end first; "collect": a Failure in its place.
        """
        return children.gather(self._body("gather()"), handles, on_error=on_error)

    @overload
    def map(
        self, target: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], *, limit: int | None = None,
        on_error: str = "raise",
    ) -> list[R]: ...  # fmt: skip
    @overload
    def map(
        self, target: Callable[[T], R], items: Iterable[T], *, limit: int | None = None, on_error: str = "raise"
    ) -> list[R]: ...
    def map(self, target: Any, items: Iterable[Any], *, limit: int | None = None, on_error: str = "raise") -> list[Any]:
        """`target` of each of `items` in the pool, at most `limit` at once over all workers; results in their order."""
        return children.map_(self._body("map()"), target, items, limit=limit, on_error=on_error)

    def race(self, handles: Iterable[Handle[R]], *, cancel: bool = True) -> tuple[int, R]:
        """(index, result) of the first that ends, the same for ever; `cancel`: and the others are cancelled."""
        return children.race(self._body("race()"), handles, cancel=cancel)

    def sleep(self, duration: Duration) -> None:
        """Wait; no worker is held meanwhile."""
        waits.sleep(self._body("sleep()"), duration)

    def sleep_until(self, moment: datetime) -> None:
        """Wait until a time. Raises ValueError for a naive one."""
        waits.sleep_until(self._body("sleep_until()"), moment)

    @overload
    def wait_event(self, name: str, *, timeout: Duration | None = None, type: type[T], key: str | None = None) -> T: ...
    @overload
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: D, type: type[T], key: str | None = None
    ) -> T | D: ...
    @overload
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: Any = NOTHING, type: None = None,
        key: str | None = None,
    ) -> Any: ...  # fmt: skip
    def wait_event(
        self, name: str, *, timeout: Duration | None = None, default: Any = NOTHING, type: Any = None,
        key: str | None = None,
    ) -> Any:  # fmt: skip
        """The payload of the next event `name`, the oldest first, as `type`.

        After `timeout` the result is `default`. Without a default, EventTimeout is raised. key: as of a step.
        """
        body = self._body("wait_event()")
        return waits.wait_event(body, name, timeout=timeout, default=default, type=type, key=key)

    def approval(
        self, title: str, *, details: Any = None, form: Any = None, timeout: Duration | None = None,
        default: bool | None = None, remind: Duration | None = None, key: str | None = None,
    ) -> Approval:  # fmt: skip
        """A person's decision: `if not ctx.approval("Refund", timeout="2d", default=False).ok: ...`.

        form: the type of its data, or a JSON Schema. default: the decision after a timeout; None: ApprovalTimeout is
        raised. remind: the interval at which the signal `approval_requested` is sent again. key: as of a step.
        """
        return waits.approval(
            self._body("approval()"), title, details=details, form=form, timeout=timeout, default=default,
            remind=remind, key=key,
        )  # fmt: skip

    def send(self, run_id: str, name: str, payload: Any = None) -> None:
        """Send an event to a run, once. Raises RunEnded."""
        effects.send(self._body("send()"), run_id, name, payload)

    def set(self, key: str, value: Any) -> None:
        """Store a value that `run.get_state()` shows at once."""
        effects.set_state(self._body("set()"), key, value)

    def tag(self, *tags: str) -> None:
        """Add tags, by which `app.runs(tags=...)` finds the run."""
        effects.tag(self._body("tag()"), *tags)

    def emit(self, stream: str, chunk: Any) -> None:
        """Add a chunk to a stream, which `run.stream()` reads; they travel in batches of 50 ms."""
        frame = self._any("emit()")
        if isinstance(frame, StepFrame):
            frame.emit(stream, chunk)
        else:
            effects.emit(frame, stream, chunk)

    def saga(self) -> Saga:
        """`with ctx.saga() as saga:`, where `saga.add(undo, ...)` is run if the block fails or is cancelled."""
        return Saga(self._body("saga()"))

    def shield(self) -> Shield:
        """`with ctx.shield():`, in which steps run although the run was cancelled."""
        return Shield(self._body("shield()"))

    def continue_as_new(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Begin anew with other arguments and no history, under the same id; undelivered events stay."""
        _continue(self._body("continue_as_new()"), args, kwargs)


def _continue(scope: Scope, args: Any, kwargs: Any) -> NoReturn:
    machine = scope.machine
    flow = machine.flow
    if flow is None:
        raise WorkflowError("continue_as_new is for the body of a workflow")
    flow.check_arguments(args, kwargs)
    machine.front(scope, (scope.name, scope.pos + 1))
    dumped = list(flow.codec.dump(args, kwargs))
    payload = encode(dumped, what=f"the arguments of workflow {flow.name!r}", limit=machine.app.conf.max_payload_bytes)
    machine.continue_as_new(payload)


ctx = Context()
