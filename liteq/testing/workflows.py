"""`WorkflowTest`: workflows in a test, in this process, with a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any, ParamSpec, Self, TypeVar, overload
from unittest.mock import Mock

from liteq.app import LiteQ
from liteq.clock import FakeClock
from liteq.exceptions import WorkflowError
from liteq.testing import modes
from liteq.utils.durations import Duration
from liteq.workflow.client.inplace import Bench, BenchRun
from liteq.workflow.client.recording import Recording
from liteq.workflow.client.run import Run
from liteq.workflow.flow import Workflow

__all__ = ["WorkflowTest"]

P = ParamSpec("P")
R = TypeVar("R")

Source = str | PathLike[str] | IO[Any]

UNSET: Any = object()


def _read(source: Source) -> tuple[bytes, str]:
    """The lines of a recording, and its name in errors."""
    if not isinstance(source, (str, PathLike)):
        text = source.read()
        return (text.encode() if isinstance(text, str) else text), str(getattr(source, "name", "the recording"))
    where = fspath(source)
    try:
        return Path(source).read_bytes(), where
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no recording {where}: write it with `pytest --liteq-record`, or with "
            "`liteq workflow export ID > FILE`"
        ) from None


class WorkflowTest:
    """A context manager in which runs of `app` execute in this process, on a file of its own and with a fake clock.

    with WorkflowTest(app) as t:
        t.mock("charge", result=Charge(id="c1"))
        assert t.run(order_flow, order).charge == "c1"   # a sleep of 30 days takes no time

    `run` and `arun` work without a `with`, too: then each call has a file of its own.
    """

    def __init__(self, app: LiteQ, *, recording: Source | None = None, live: Sequence[Any] = ()) -> None:
        """`recording`: a file of `liteq workflow export`, out of which steps and calls are answered.

        A call that is not in it raises NotRecorded. live: steps that are executed all the same, by name or its last
        part. With `pytest --liteq-record` all are executed, and the file is written when the block ends.
        Raises FileNotFoundError, ValueError for another file, and LookupError for a misspelt name in `live`.
        """
        self._app = app
        self._bench = Bench(app)
        self.clock = self._bench.clock
        self._recording: Recording | None = None
        self._write_to: Path | None = None
        self._begun: list[str] = []
        self._is_open = self._was_open = False
        if recording is not None:
            self._set(recording, live)
        elif live:
            raise TypeError("live= is for a test with a recording: without one, all is executed")

    def _set(self, source: Source, live: Sequence[Any]) -> None:
        if modes.records and isinstance(source, (str, PathLike)):
            self._write_to = Path(source)
            return
        self._recording = Recording.parsed(*_read(source), live)
        self._recording.check([*self._app.steps_of_workflows, *self._app.tasks])
        self._bench.recording = self._recording
        self._rewind(self._recording)

    def _rewind(self, recording: Recording) -> None:
        """Have a recording answer from its beginning, at its time."""
        recording.rewind()
        if recording.began_ms is not None:
            self._bench.clock = self.clock = FakeClock(recording.began_ms)

    def __enter__(self) -> Self:
        if self._recording is not None and self._was_open:
            self._rewind(self._recording)
        self._was_open = True
        self._bench.open()
        self._is_open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._write_to is not None:
                self._write(self._write_to)
        finally:
            self._is_open = False
            self._begun.clear()
            self._bench.leave()
            self._bench.close()

    def _write(self, path: Path) -> None:
        """Write the runs of this test, for the next ones."""
        from liteq.monitor.runs.run_export import exported, line_of

        lines = [line_of(exported(self._app, id_)) for id_ in self._begun]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    @overload
    def run(self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def run(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def run(self, flow: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run `flow` to its end, moving the clock whenever nothing can run: what it returned.

        Raises its exception, what it is stuck with, and WorkflowError where it would wait for ever. With a recording,
        its events and decisions end the waits, and a call that is not in it raises NotRecorded.
        """
        if not self._is_open:  # else it would be executed on the app's own file
            with self:
                return self.run(flow, *args, **kwargs)
        return self._bench.finish(self._started(flow, args, kwargs))

    @overload
    async def arun(self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def arun(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def arun(self, flow: Any, /, *args: Any, **kwargs: Any) -> Any:
        """`run()` in an async test: an async body runs in the loop that is there, among the test's own tasks.

        So its steps may use what the test has made there: clients, servers, events.
        """
        if not self._is_open:
            with self:
                return await self.arun(flow, *args, **kwargs)
        return await self._bench.finished_in_this_loop(lambda: self._started(flow, args, kwargs))

    @overload
    def start(self, flow: Workflow[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    @overload
    def start(self, flow: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Run[R]: ...
    def start(self, flow: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Start a run, and execute what is due; it goes on when it is asked something, and with `advance`."""
        self._check_open("start")
        run = self._started(flow, args, kwargs)
        self._bench.drain()
        return run

    def _check_open(self, what: str) -> None:
        if not self._is_open:
            raise WorkflowError(
                f"{what}() needs the file of the test: write `with WorkflowTest(app) as t: t.{what}(...)`"
            )

    def _started(self, flow: Any, args: Any, kwargs: Any) -> BenchRun[Any]:
        if self._recording is not None:
            flow = self._recording.as_recorded(flow, args, kwargs, self.clock)
        if not hasattr(flow, "start"):
            raise TypeError(f"{getattr(flow, 'name', flow)!r} is no workflow: `@app.workflow` makes one")
        run = flow.start(*args, **kwargs)
        self._begun.append(run.id)
        return run  # type: ignore[no-any-return]

    def advance(self, duration: Duration) -> None:
        """Move the clock on, from due time to due time."""
        self._check_open("advance")
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
