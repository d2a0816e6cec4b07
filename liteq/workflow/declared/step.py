"""`Step`: a function whose result is kept. In a body it is answered from history; elsewhere it is the function."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from liteq.exceptions import BadMessage, StepTimeout, WorkflowError
from liteq.policy.arguments import check_sensitive
from liteq.policy.keyed import Spec, keyed_of
from liteq.utils.durations import Duration, limit_s, to_span_ms
from liteq.utils.misspelt import suggesting
from liteq.utils.names import checked_name, checked_priority
from liteq.workflow.declared.step_checks import (
    Backoff,
    Doubt,
    Errors,
    Fallback,
    Spends,
    checked_backoff,
    checked_classes,
    checked_doubt,
    checked_fallback,
    checked_function,
    checked_retries,
    checked_scope,
    checked_spends,
    is_count,
)
from liteq.workflow.history.codec import Codec, Form
from liteq.workflow.history.frames import here

if TYPE_CHECKING:
    from liteq.context import App

__all__ = ["KEEP", "Backoff", "Errors", "Step", "given_of", "is_count", "refuse_generator"]

P = ParamSpec("P")
R = TypeVar("R")

KEEP: Any = object()  # of an option that is not given for a call
LONGEST_TX_S = 5.0  # a transaction holds the file's write lock


def given_of(named: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are given, of all names of a function that takes options: its `locals()`, at its beginning."""
    return {name: value for name, value in named.items() if name != "self" and value is not KEEP}


def refuse_generator(function: Callable[..., Any], what: str) -> None:
    """Raise WorkflowError for a generator function: it is entered in the middle, where no history can follow it."""
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise WorkflowError(
            f"{what} {inner.__qualname__!r} is a generator: write a plain function, or `async def`, that returns its "
            "value; for partial results use ctx.emit(stream, chunk)"
        )


class Step(Generic[P, R]):
    """A function whose result is kept in the history of the run that calls it.

    `@app.step` makes one. Outside a body, and inside another step, calling it calls the function.
    """

    __wrapped__: Callable[..., Any]
    __name__: str
    may_block = False  # of one that is called as an async step, whose function may be a plain one
    keeps: Callable[[Any], bool] | None = None  # whether the memo keeps a result; None: it keeps each

    def __init__(self, app: App, function: Callable[P, R], name: str, options: Mapping[str, Any]) -> None:
        refuse_generator(function, "the step")
        functools.update_wrapper(self, function)
        self.app = app
        self.function = function
        self.name = checked_name(name, "a step's name")
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function))
        self.what = f"step {name!r}"
        self.codec = Codec(function, self.what)
        self.given = self.declared = dict(options)
        self._set(**options)

    @suggesting
    def _set(
        self,
        *,
        retries: int = 0,
        backoff: Backoff = (1.0, 60.0),
        retry_on: Errors = (Exception,),
        give_up_on: Errors = (),
        timeout: Duration | None = None,
        memo: Duration | bool | None = None,
        memo_key: Callable[..., Any] | None = None,
        memo_scope: str | None = None,
        tx: bool | str | Callable[[], Any] = False,
        compensate: Callable[[Any], Any] | None = None,
        queue: str | None = None,
        limits: Spec | Sequence[Spec] = (),
        spends: Spends | None = None,
        fallback: Fallback | None = None,
        doubt: Doubt = "repeat",
        sensitive: bool | Sequence[str] = (),
        key: str | None = None,
        priority: int | None = None,
    ) -> None:
        if tx and self.is_async:
            raise WorkflowError(
                f"{self.what}: tx= is for a `def` step, not for `async def`: one thread holds a transaction"
            )
        what = self.what
        self.retries = checked_retries(retries, what)
        self.backoff = checked_backoff(backoff, what)
        self.retry_on, self.give_up_on = checked_classes(retry_on, what), checked_classes(give_up_on, what)
        timeout_s = None if timeout is None else limit_s(timeout, f"the timeout of {what}")
        self.timeout_s = min(timeout_s or LONGEST_TX_S, LONGEST_TX_S) if tx else timeout_s
        self.memo_ms = None if memo is None or isinstance(memo, bool) else to_span_ms(memo, f"the memo of {what}")
        self.is_memo = memo is not None and memo is not False
        self.memo_key = checked_function(memo_key, f"{what}: memo_key", "of the step's arguments")
        self.memo_scope = checked_scope(memo_scope, what)
        self.tx = tx
        self.compensate = checked_function(compensate, f"{what}: compensate", "of the step's result")
        self.queue = None if queue is None else checked_name(queue, "a queue's name")
        self.key = None if key is None else checked_name(key, "a step's key")
        self.priority = None if priority is None else checked_priority(priority)
        self.is_simple = self.timeout_s is None and not self.is_memo and not tx
        self._set_effects(limits, spends, fallback, doubt, sensitive)

    def _set_effects(self, limits: Any, spends: Any, fallback: Any, doubt: Any, sensitive: Any) -> None:
        what = self.what
        check_sensitive(sensitive, self.function, what)
        self.sensitive = sensitive
        self.keyed = keyed_of(self.name, {"limits": limits}, self._signature, what, sensitive)
        self.spends = checked_spends(spends, what)
        self.fallback = checked_fallback(fallback, self._signature, what)
        self.doubt = checked_doubt(doubt, what)
        if self.doubt is not None and (self.tx or self.is_memo):
            other = "tx" if self.tx else "memo"
            raise WorkflowError(f"{what}: doubt= is for an effect elsewhere, and {other}= for a step without one")

    def _signature(self) -> inspect.Signature:
        return self.codec.parameters.signature

    @property
    def form(self) -> Form:
        """The form of its result."""
        return self.codec.result

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """In a body: its result, from history, else of running it now. Elsewhere: call the function."""
        frame = here()
        if frame is None:
            return self.function(*args, **kwargs)
        return frame.call_step(self, args, kwargs)  # type: ignore[no-any-return]

    @suggesting
    def options(
        self,
        *,
        key: str | None = KEEP,
        retries: int = KEEP,
        backoff: Backoff = KEEP,
        timeout: Duration | None = KEEP,
        queue: str | None = KEEP,
        priority: int | None = KEEP,
        memo_scope: str | None = KEEP,
        limits: Spec | Sequence[Spec] = KEEP,
        spends: Spends | None = KEEP,
        fallback: Fallback | None = KEEP,
        doubt: Doubt = KEEP,
    ) -> Step[P, R]:
        """The same step with other options for a call: `charge.options(key="c1", timeout="5s")(order)`.

        key: a name, unique in the run, by which history finds the call, whatever the order of calls. The other options
        are those of `@app.step`; an option that is not given keeps its value. They go with a step that is sent, too,
        but functions do not: call, spawn and map refuse these.

        Raises TypeError and ValueError, as `@app.step` does.
        """
        given = given_of(locals())
        return self.having(given)

    def having(self, given: Mapping[str, Any]) -> Step[P, R]:
        """The same step with other options, any of those that `@app.step` has, and key and priority."""
        other: Step[P, R] = object.__new__(Step)
        other.__dict__.update(self.__dict__)
        other.given = {**self.given, **given}
        if given.keys() == {"key"}:  # what most calls give
            other.key = None if given["key"] is None else checked_name(given["key"], "a step's key")
        else:
            other._set(**other.given)
        return other

    def retries_after(self, exc: BaseException, attempt: int) -> bool:
        """Whether there is another attempt after `attempt` (from 1) has raised `exc`."""
        if attempt > self.retries or not isinstance(exc, self.retry_on) or isinstance(exc, self.give_up_on):
            return False
        return isinstance(exc, StepTimeout) or not isinstance(exc, (WorkflowError, BadMessage))

    def delay_s(self, attempt: int) -> float:
        """Seconds between the failed `attempt` (from 1) and the next one."""
        backoff = self.backoff
        if callable(backoff):
            return max(0.0, float(backoff(attempt)))
        if isinstance(backoff, tuple):
            first, longest = backoff
            return random.uniform(0.0, min(longest, first * 2.0 ** min(attempt - 1, 60)))  # full jitter
        return backoff

    def redacted(self, args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
        """Arguments as others may see them."""
        if not self.sensitive:
            return list(args), dict(kwargs)
        return self.codec.parameters.redacted(self.sensitive, args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """A step in a class is called as its methods are."""
        if instance is None:
            return self
        return functools.partial(self.__call__, instance)

    def __repr__(self) -> str:
        return f"<@step: {self.name}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.what} is not sent to another process: import it there")
