"""`WorkflowTest`: workflows in a test, in this process, with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Self, TypeVar, overload
from unittest.mock import Mock

from liteq.app import LiteQ
from liteq.workflow.duration import Duration
from liteq.workflow.flow import Workflow
from liteq.workflow.inplace import Bench, BenchRun
from liteq.workflow.run import Run

__all__ = ["WorkflowTest"]

P = ParamSpec("P")
R = TypeVar("R")

UNSET: Any = object()


class WorkflowTest:
    """A context manager in which runs of `app` execute in this process, on a file of its own and with a fake clock.

    with WorkflowTest(app) as t:
        t.mock("charge", result=Charge(id="c1"))
        assert t.run(order_flow, order).charge == "c1"   # a sleep of 30 days takes no time
    """

    def __init__(self, app: LiteQ) -> None:
        self._bench = Bench(app)
        self.clock = self._bench.clock

    def __enter__(self) -> Self:
        self._bench.open()
        return self

    def __exit__(self, *_: object) -> None:
        self._bench.leave()
        self._bench.close()

    @overload
    def run(self, flow: Workflow[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, flow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    def run(self, flow: Any, *args: Any, **kwargs: Any) -> Any:
        """Run `flow` to its end, moving the clock whenever nothing can run: what it returned.

        Raises its exception, what it is stuck with, and WorkflowError where it would wait for ever.
        """
        return self._bench.finish(self._started(flow, args, kwargs))

    @overload
    def start(self, flow: Workflow[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    @overload
    def start(self, flow: Workflow[P, R], *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    def start(self, flow: Any, *args: Any, **kwargs: Any) -> Any:
        """Start a run, and execute what is due; it goes on when it is asked something, and with `advance`."""
        run = self._started(flow, args, kwargs)
        self._bench.drain()
        return run

    def _started(self, flow: Any, args: Any, kwargs: Any) -> BenchRun[Any]:
        run = flow.start(*args, **kwargs)
        return BenchRun(self._bench, run.id, flow)

    def advance(self, duration: Duration) -> None:
        """Move the clock on, from due time to due time."""
        self._bench.advance(duration)

    def mock(
        self, step: Any, *, result: Any = UNSET, raises: BaseException | type[BaseException] | None = None,
        side_effect: Callable[..., Any] | Any = None,
    ) -> Mock:  # fmt: skip
        """Have a step, a task or a workflow replaced, given as such, by name or its last part; the Mock in its place.

        result: what it returns; raises: its exception; side_effect: a function called in its place, or a list of what
        its calls return or raise in turn. Raises LookupError for a misspelt name.
        """
        given = sum((result is not UNSET, raises is not None, side_effect is not None))
        if given > 1:
            raise TypeError("mock takes one of result=, raises= and side_effect=")
        mock = Mock(return_value=None if result is UNSET else result, side_effect=raises or side_effect)
        self._bench.mock(step, mock)
        return mock
