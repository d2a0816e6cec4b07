"""`Bench`: runs executed in this process, over a file of their own and a clock that is moved by hand.

For `liteq.testing.WorkflowTest`, and for `task_always_eager`.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from liteq.clock import FakeClock
from liteq.exceptions import TimeoutError, WorkflowError
from liteq.result.streaming import Chunk, look_at, read
from liteq.storage.runs.records import ENDED, RunRecord
from liteq.storage.storage import Storage, open_storage
from liteq.utils.durations import Duration, to_span_ms
from liteq.utils.misspelt import LIKELY, nearest
from liteq.workflow.client.drain import WAITING, Drain
from liteq.workflow.client.recording import Recording
from liteq.workflow.client.run import Run
from liteq.workflow.declared.declaration import Declaration
from liteq.workflow.history.errors import raised_of

if TYPE_CHECKING:
    from liteq.context import App

__all__ = ["Bench", "BenchRun", "apply_eagerly", "start_eagerly"]

R = TypeVar("R")

SENDS = "send()"

# Attributes of an app that is on one.
OF_A_BENCH = ("storage", "workflow_mocks", "workflow_recording", "workflow_bench", "workflow_runs")


class Bench:
    """An app on a file of its own, and on a FakeClock, between `open` and `close`. `runs`: the class of its runs."""

    def __init__(self, app: App, runs: type[BenchRun[Any]] | None = None) -> None:
        self.app = app
        self.runs = BenchRun if runs is None else runs
        self.clock = FakeClock()
        self.mocks: dict[str, Any] = {}
        self.recording: Recording | None = None
        self._folder: str | None = None
        self._storage: Storage | None = None
        self._before: list[tuple[Any, ...]] = []  # where the app was, at each `open` that was not left yet
        self._lock = threading.RLock()  # of `opened`
        self._busy = False
        self._due_ms: int | None = None  # as of the last drain
        self._turn = threading.Lock()

    def open(self) -> None:
        """Put the app on the bench."""
        app = self.app
        if self._storage is None:
            self._folder = tempfile.mkdtemp(prefix="liteq-workflow-")
            url = f"sqlite:///{Path(self._folder) / 'runs.db'}"
            self._storage = open_storage(url, driver=app.conf.sqlite_driver, durability="relaxed", clock=self.clock)
            self._storage.migrate()
        eager = app.conf.task_always_eager
        self._before.append((*(app.__dict__.get(name) for name in OF_A_BENCH), app.clock, eager))
        app.__dict__["storage"] = self._storage
        app.clock = self.clock
        app.__dict__["workflow_mocks"] = self.mocks
        app.__dict__["workflow_recording"] = self.recording
        app.__dict__["workflow_bench"] = self
        app.__dict__["workflow_runs"] = self.runs
        if eager:
            app.conf["task_always_eager"] = False

    def leave(self) -> None:
        """Put the app back where it was; the file stays for the next `open`."""
        app = self.app
        *there, app.clock, eager = self._before.pop()
        for name, value in zip(OF_A_BENCH, there, strict=True):
            if value is None:
                app.__dict__.pop(name, None)
            else:
                app.__dict__[name] = value
        if eager:
            app.conf["task_always_eager"] = True

    @contextmanager
    def opened(self) -> Iterator[None]:
        """A block in which the app is on the bench, for one thread at a time."""
        with self._lock:
            self.open()
            try:
                yield
            finally:
                self.leave()

    def close(self) -> None:
        """Delete the file."""
        if self._storage is not None:
            self._storage.close()
            self._storage = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # -- executing ---------------------------------------------------------------------------------------------------

    def drain(self) -> int:
        """Execute all that is due now; how many."""
        if self._busy:
            return 0
        self._busy, self._due_ms = True, None  # a step that runs in it waits for no time
        drain = Drain(self.app, limit=1)
        try:
            return drain.run()
        finally:
            self._busy, self._due_ms = False, drain.due_ms

    def advance(self, duration: Duration) -> None:
        """Move the clock on by `duration`, from due time to due time: all that is due is executed at its time."""
        until_ms = self.clock.now_ms() + to_span_ms(duration, "the time to advance")
        self.drain()
        while (due_ms := self._due_ms) is not None and due_ms <= until_ms:
            self.clock.advance_to(due_ms)
            self.drain()
        self.clock.advance_to(until_ms)
        self.drain()

    def asks_alone(self, record: RunRecord) -> bool:
        """Whether nothing but a person's decision lets this run go on: time brings reminders alone, for ever."""
        if not any(one.startswith("approval ") for one in record.waiting_for):
            return False
        runs, reader, now_ms = self.app.storage.runs, self.app.storage.reader, self.clock.now_ms()
        asking = [run for run in runs.list(status="waiting", limit=1_000) if self._asks(run)]
        due = sum(one.n for one in reader.counts() if one.state in WAITING)
        return record.id in {run.id for run in asking} and due <= sum((run.due_ms or 0) > now_ms for run in asking)

    def _asks(self, run: RunRecord) -> bool:
        """Whether a run waits for approvals without an end, or for a budget that only a person adds to."""
        if run.deadline_ms is not None:
            return False
        runs = self.app.storage.runs
        rows = [step.row for step in runs.steps(run.id) if step.row.ended_ms is None and step.gen == run.gen]
        for row in rows:
            if row.kind != "approval" and not (row.waited or "").startswith("budget "):
                return False
            if row.kind == "approval" and row.due_ms is not None:
                return False
        asks = any(row.kind == "approval" for row in rows)
        return asks and all(period_ms is None for _, _, period_ms, *_ in runs.export(run.id)["budget"])

    def finish(self, run: Run[R]) -> R:
        """Execute until `run` has ended, moving the clock only when nothing can run: its result.

        Raises its exception; what it is stuck with; WorkflowError where it would wait for ever.
        """
        while True:
            self.drain()
            record = self.app.storage.runs.find(run.id)
            if record is None or record.status in ENDED:
                return run.result(0)
            if record.status == "stuck" and record.error is not None:
                raise raised_of(record.error)
            due_ms = self._due_ms
            if self.recording is not None and self.recording.feed(self.app, due_ms):
                continue
            if due_ms is None or self.asks_alone(record):
                waits = ", ".join(record.waiting_for) or record.status
                raise WorkflowError(
                    f"the run {run.id} of {record.name!r} would wait for ever: {waits}; start() it, send what it waits "
                    "for, and then advance() or ask for its result"
                )
            self.clock.advance_to(due_ms)

    async def finished_in_this_loop(self, start: Callable[[], Run[R]]) -> R:
        """As `finish(start())`, in a thread; async bodies run in the loop of the caller. One at a time."""
        import asyncio

        loop = asyncio.get_running_loop()

        def run() -> R:
            with self._turn:
                self.app.__dict__["workflow_loop"] = loop
                try:
                    return self.finish(start())
                finally:
                    self.app.__dict__.pop("workflow_loop", None)

        return await asyncio.to_thread(run)

    # -- mocks -------------------------------------------------------------------------------------------------------

    def mock(self, name: Any, replacement: Callable[..., Any]) -> None:
        """Have `replacement` called in place of a step, a task or a workflow: given as such, by name or its last part.

        Raises LookupError for a name that is misspelt.
        """
        named = str(getattr(name, "name", name))
        known = [*self.app.steps_of_workflows, *self.app.tasks]
        if named not in known and all(one.rpartition(".")[2] != named for one in known):
            parts = {one.rpartition(".")[2] for one in known}
            near = nearest(named, known, LIKELY) or nearest(named, parts, LIKELY)
            if near is not None:
                raise LookupError(f"there is no step, task or workflow {named!r}: did you mean {near!r}?")
        self.mocks[named] = replacement


class BenchRun(Run[R]):
    """A run on a bench: what is due is executed before it is asked anything.

    Not before it is sent an event: of two that are sent one after the other, the second finds the first in its inbox.
    """

    def __init__(self, app: App, id: str, flow: Declaration[Any, Any] | None = None) -> None:
        super().__init__(app, id, flow)
        self._bench: Bench = getattr(app, "workflow_bench")  # noqa: B009 - an app knows nothing of it

    def _runs(self, what: str, instead: str = "do it in a step") -> Any:
        runs = super()._runs(what, instead)
        if what != SENDS:
            self._bench.drain()
        return runs

    def result(self, timeout: float | None = None) -> R:
        """Its result, where it ends without that the clock is moved. Raises TimeoutError where it waits."""
        record = self._record("result()", "ctx.call() the workflow, instead of start()")
        if record.status not in ENDED:
            if record.status == "stuck" and record.error is not None:
                raise raised_of(record.error)
            waits = ", ".join(record.waiting_for) or record.status
            raise TimeoutError(f"the run {self.id} waits ({waits}): advance() the clock, or send what it waits for")
        return self._value(record)

    get = result

    async def aresult(self, timeout: float | None = None) -> R:
        """`result()` for async code."""
        from liteq.utils.async_threads import reading

        return await reading(self.app, self.result)

    aget = aresult

    def stream(self, name: str, after: int = 0) -> Iterator[Chunk]:
        """The chunks of a stream. Raises TimeoutError behind the last one, where the run has not ended."""
        self._runs("stream()")
        look = look_at(self.app, self.id, name)
        while True:
            chunks, ended = look(after)
            for chunk in chunks:
                after = chunk.offset
                yield read(chunk)
            if ended and not chunks:
                return
            if not chunks:
                self.result()  # says what it waits for

    def wait_state(self, key: str, timeout: float | None = None) -> Any:
        """The value of `key`. Raises TimeoutError where it is not set yet."""
        state = self.get_state()
        if key not in state:
            raise TimeoutError(f"the run {self.id} has not set {key!r} yet: advance() the clock")
        return state[key]


# -- task_always_eager -----------------------------------------------------------------------------------------------

_benches: WeakKeyDictionary[Any, Bench] = WeakKeyDictionary()


class EagerRun(BenchRun[R]):
    """A run that was executed in place: it has ended, or waits for what its caller will send."""

    def _runs(self, what: str, instead: str = "do it in a step") -> Any:
        if self._bench._busy:  # by a step that is executed there
            return super()._runs(what, instead)
        with self._bench.opened():
            self._bench.drain()
        return self._bench._storage.runs  # type: ignore[union-attr]


def start_eagerly(flow: Declaration[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[Any]:
    """Run `flow` here and now, as `WorkflowTest` does: on a file of its own, with a clock that waits for nothing."""
    bench = _benches.setdefault(flow.app, Bench(flow.app, EagerRun))
    with bench.opened():
        message = flow.message(args, kwargs, id_=flow.new_id())
        runs = flow.app.storage.runs
        started = runs.start(message, on_conflict=flow.asked.on_conflict, event=flow.event_of())
        run: EagerRun[Any] = EagerRun(flow.app, started.id, flow)
        while True:
            bench.drain()
            record = runs.find(started.id)
            due_ms = bench._due_ms
            if record is None or record.status in ENDED or record.status == "stuck" or due_ms is None:
                return run
            if bench.asks_alone(record):
                return run
            bench.clock.advance_to(due_ms)


def apply_eagerly(flow: Declaration[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any], options: Any) -> Any:
    """Run `flow` in place; its EagerResult, as a task's `apply` returns it."""
    from liteq import states
    from liteq.result import EagerResult

    throw = options.get("throw")
    if throw is None:
        throw = flow.app.conf.task_eager_propagates
    if options.get("task_id"):
        flow = flow.options(id=options["task_id"])
    run = start_eagerly(flow, args, kwargs)
    try:
        return EagerResult(run.id, run.result(), states.SUCCESS, name=flow.name)
    except Exception as exc:
        if throw:
            raise
        return EagerResult(run.id, exc, states.FAILURE, name=flow.name)
