"""`Run`: one run, for a program that waits for it, reads it or controls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from liteq.exceptions import RunCancelled, RunNotFound, TimeoutError, WorkflowError
from liteq.message import new_id
from liteq.result import AsyncResult, streaming
from liteq.result.progress import Progress, progress_of
from liteq.result.streaming import Chunk
from liteq.result.waiting import Deadline, DoneBell
from liteq.serialization import decode, encode
from liteq.serialization.models import data_of
from liteq.storage.runs.records import ENDED
from liteq.utils.names import checked_id, checked_name
from liteq.workflow.client.approving import checked_data
from liteq.workflow.client.usage import usage_of
from liteq.workflow.declared.step import is_count
from liteq.workflow.history.errors import raised_of
from liteq.workflow.history.frames import here
from liteq.workflow.views import ApprovalRequest, RunInfo, StepInfo, approval_of, info_of, step_of

if TYPE_CHECKING:
    from liteq.context import App
    from liteq.storage.runs.records import RunRecord
    from liteq.workflow.declared.budgets import Usage
    from liteq.workflow.declared.declaration import Declaration

__all__ = ["Run"]

R = TypeVar("R")
T = TypeVar("T")

HALTED = frozenset({"paused", "stuck"})
STATE_LOOK_S = 0.25  # the ring of a value may be lost


class Run(Generic[R]):
    """A run by its id; nothing is read until a method is called. `R` is the type of its result.

    Methods raise RunNotFound for an id under which no run is known, and WorkflowError inside a body.
    """

    def __new__(cls, app: App, id: str, flow: Declaration[Any, Any] | None = None) -> Self:  # noqa: ARG004 - of __init__
        """One of an app that is on a bench (inplace.py), where no worker will execute it, is executed when asked."""
        kind: type[Self] = getattr(app, "workflow_runs", cls)
        return super().__new__(kind if issubclass(kind, cls) else cls)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.app, self.id, self._flow

    def __init__(self, app: App, id: str, flow: Declaration[Any, Any] | None = None) -> None:
        self.app = app if app.files is None else app.here
        self.id = checked_id(id)
        self.duplicate = False
        """Whether its start has found it: the start was unique, and this run stood already."""
        self._flow = flow
        self._ended: RunRecord | None = None

    # -- looking -----------------------------------------------------------------------------------------------------

    def _runs(self, what: str, instead: str = "do it in a step") -> Any:
        frame = here()
        if frame is not None and hasattr(frame, "branch"):
            raise WorkflowError(f"run.{what} in a workflow's body would be repeated by each replay: {instead}")
        return self.app.storage.runs

    def _record(self, what: str, instead: str = "do it in a step") -> RunRecord:
        runs = self._runs(what, instead)
        if self._ended is not None:
            return self._ended
        record: RunRecord | None = runs.find(self.id)
        if record is None:
            raise RunNotFound(f"no run {self.id!r} is known here: it was never started on this file, or has expired")
        return record

    @property
    def name(self) -> str:
        """The name of its workflow."""
        return self._flow.name if self._flow is not None else self._record("name").name

    @property
    def status(self) -> str:
        """queued, running, waiting, paused, stuck, succeeded, failed or cancelled."""
        return self._record("status").status

    @property
    def state(self) -> str:
        """Its state by Celery's name."""
        self._record("state")
        return AsyncResult[Any](self.id, app=self.app).state

    def ready(self) -> bool:
        """Whether it has ended."""
        return self._record("ready()", "ctx.call() it").status in ENDED

    def info(self) -> RunInfo:
        """Its version, its waits, its parent and its times."""
        return info_of(self._record("info()"))

    def steps(self) -> list[StepInfo]:
        """Its steps, in the order in which they began."""
        runs = self._runs("steps()")
        return [step_of(self.app, one) for one in runs.steps(self.id)]

    def usage(self) -> Usage:
        """The spending of it and of all that it has started, so far, each recorded answer once."""
        sums = self.app.storage.spending.of_run(self.id) if self._runs("usage()") else None
        if sums is None:
            raise RunNotFound(f"no run {self.id!r} is known here: it was never started on this file, or has expired")
        return usage_of(sums)

    def get_state(self) -> dict[str, Any]:
        """The values that it has set, by key."""
        state = {key: decode(value) for key, value in self._runs("get_state()").state(self.id).items()}
        if not state:
            self._record("get_state()")
        return state

    def approvals(self) -> list[ApprovalRequest]:
        """The approvals that it asks for, the oldest first."""
        return [approval_of(one) for one in self._runs("approvals()").approvals(self.id)]

    # -- waiting -----------------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> R:
        """Wait until it has ended, and return the result of its body.

        Raises the body's exception, RunCancelled with the reason where it was cancelled or terminated, RunNotFound,
        and TimeoutError after `timeout` seconds; while it is paused or stuck it is waited for, too.
        """
        record = self._record("result()", "ctx.call() the workflow, instead of start()")
        if record.status not in ENDED:
            deadline = Deadline(self.app, timeout)

            def unfinished() -> bool:
                nonlocal record
                record = self._record("result()")
                return record.status not in ENDED

            with DoneBell(self.app) as bell:
                while deadline.tries(unfinished):
                    bell.wait(self._left(deadline, record))
        return self._value(record)

    get = result

    def _left(self, deadline: Deadline, record: RunRecord) -> float:
        try:
            return deadline.left(self.id)
        except TimeoutError as exc:
            raise self._late(record, exc) from None

    def _late(self, record: RunRecord, exc: TimeoutError) -> TimeoutError:
        if record.status not in HALTED:
            waits = f" (it waits for {', '.join(record.waiting_for)})" if record.waiting_for else ""
            return TimeoutError(f"{exc}{waits}")
        why = f": {raised_of(record.error)}" if record.error else ""
        return TimeoutError(
            f"the run {self.id} did not end in time: it is {record.status}{why}; run.resume() lets it go on"
        )

    def _value(self, record: RunRecord) -> R:
        self._ended = record
        if record.status == "succeeded":
            return self._decoded(record)
        if record.error is None:
            raise RunCancelled(record.reason or record.status)
        exc = raised_of(record.error)
        if record.status == "cancelled" and not isinstance(exc, RunCancelled):  # it was revoked, or has expired
            raise RunCancelled(*exc.args)
        raise exc

    def _decoded(self, record: RunRecord) -> R:
        flow = self._flow or self.app.tasks.get(record.name)
        data = record.result or b"null"
        if flow is not None and getattr(flow, "is_workflow", False):
            return flow.codec.result.decode(data)  # type: ignore[no-any-return]
        return decode(data)  # type: ignore[no-any-return]

    def wait_state(self, key: str, timeout: float | None = None) -> Any:
        """Wait until it has set `key`: the value. Raises TimeoutError, WorkflowError where it has ended without it."""
        deadline = Deadline(self.app, timeout)

        nothing: dict[str, Any] = {}

        def look() -> tuple[bool, dict[str, Any]]:
            ended = self._record("wait_state()").status in ENDED  # first: what it set before its end is there then
            return ended, self.get_state()

        with DoneBell(self.app) as bell:
            while True:
                ended, state = deadline.absence.tries(look, (False, nothing))
                if key in state:
                    return state[key]
                if ended:
                    raise WorkflowError(f"the run {self.id} has ended and has not set {key!r}")
                bell.wait(min(deadline.left(self.id), STATE_LOOK_S))

    @property
    def progress(self) -> Progress | None:
        """The last report of one of its steps on its progress (`liteq.progress`); None without one."""
        record = self.app.storage.reader.find(self.id)
        return None if record is None else progress_of(record)

    def stream(self, name: str, after: int = 0) -> Iterator[Chunk]:
        """The chunks of a stream as they come, those behind the offset `after`; it ends with the run."""
        self._runs("stream()")
        return streaming.stream(self.app, self.id, name, after)

    # -- telling -----------------------------------------------------------------------------------------------------

    def send(self, name: str, payload: Any = None, *, dedup: str | None = None) -> bool:
        """Send an event to it; it may start later. False if an event with the same `dedup` was sent before.

        Raises RunEnded.
        """
        runs = self._runs("send()", "use ctx.send(run_id, name, payload)")
        name = checked_name(name, "an event's name")
        limit = self.app.conf.max_payload_bytes
        data = encode(data_of(payload), what=f"the payload of the event {name!r}", limit=limit)
        sent: bool = runs.send(self.id, name, data, dedup=dedup)
        return sent

    def approve(
        self, title: str, ok: bool = True, *, by: str | None = None, comment: str = "", data: Any = None
    ) -> bool:
        """Decide the oldest open approval of `title`. True: this call decided; False: it was decided just so before.

        Raises AlreadyDecided where it was decided otherwise, NoSuchApproval, and ValueError, which names the field, for
        `data` that does not fit the approval's form: nothing is decided then.
        """
        runs = self._runs("approve()")
        plain = None if data is None else encode(data_of(data), what=f"the data of the approval {title!r}")
        check = checked_data(title, data) if ok else None
        decided: bool = runs.approve(self.id, title, ok=bool(ok), by=by, comment=comment, data=plain, check=check)
        return decided

    def cancel(self, reason: str = "") -> None:
        """Ask it to end: no further step begins, sagas and shields run, and its children are cancelled."""
        if not self._runs("cancel()").cancel([self.id], reason=reason):
            self._record("cancel()")

    def terminate(self, reason: str = "") -> None:
        """End it at once; no saga runs, and the process of its step is killed."""
        ended = self._runs("terminate()").terminate([self.id], reason=reason)
        if not ended:
            self._record("terminate()")
        executing = [token for _, token in ended if token is not None]
        if executing:  # by their tokens: the id may be that of another run a moment later
            self.app.control.broadcast("end_runs", {"tokens": executing})

    def pause(self) -> bool:
        """Stop it after its step in progress, until `resume()`; False where it has ended."""
        self._record("pause()")
        return bool(self._runs("pause()").pause(self.id))

    def resume(self) -> bool:
        """Let a paused or stuck run go on; False if it is neither."""
        self._record("resume()")
        return bool(self._runs("resume()").resume(self.id))

    def retry(self) -> bool:
        """Let a failed run go on at the step that failed; False where it has not failed.

        Raises WorkflowError if it was compensated, because its earlier steps are undone, or has cleaned up (`shield()`)
        when its time was over: `rewind()` such a one.
        """
        self._record("retry()")
        self._ended = None
        return bool(self._runs("retry()").retry(self.id))

    def fork(self, from_step: int, *, id: str | None = None) -> Run[R]:
        """Start a run with the steps before number `from_step` of this one, which stays as it is; the new run."""
        made = self._runs("fork()").fork(self.id, _number(from_step), new=new_id() if id is None else checked_id(id))
        return Run(self.app, made, self._flow)

    def rewind(self, to_step: int) -> None:
        """Have it forget its steps from number `to_step` on, and go on there.

        Raises WorkflowError while it runs, and where a chain, a chord or a parent has taken its end.
        """
        self._runs("rewind()").rewind(self.id, _number(to_step))
        self._ended = None

    # -- async twins -------------------------------------------------------------------------------------------------

    async def _away(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        from liteq.utils.async_threads import writing

        self._runs(f"a{function.__name__}()")
        return await writing(self.app, function, *args, **kwargs)

    async def aresult(self, timeout: float | None = None) -> R:
        """`result()` for async code: a waiting coroutine takes no thread."""
        from liteq.result.hub import finished
        from liteq.utils.async_threads import reading

        record = await reading(self.app, lambda: self._record("aresult()"))
        if record.status not in ENDED:
            try:
                async with finished(self.app, [self.id], timeout) as rows:
                    await rows[self.id]
            except TimeoutError as exc:
                raise self._late(await reading(self.app, lambda: self._record("aresult()")), exc) from None
            record = await reading(self.app, lambda: self._record("aresult()"))
        return self._value(record)

    aget = aresult

    async def ausage(self) -> Usage:
        """`usage()` for async code."""
        from liteq.utils.async_threads import reading

        return await reading(self.app, self.usage)

    async def asend(self, name: str, payload: Any = None, *, dedup: str | None = None) -> bool:
        """`send()` for async code."""
        return await self._away(self.send, name, payload, dedup=dedup)

    async def aapprove(
        self, title: str, ok: bool = True, *, by: str | None = None, comment: str = "", data: Any = None
    ) -> bool:
        """`approve()` for async code."""
        return await self._away(self.approve, title, ok, by=by, comment=comment, data=data)

    async def acancel(self, reason: str = "") -> None:
        """`cancel()` for async code."""
        await self._away(self.cancel, reason)

    async def aterminate(self, reason: str = "") -> None:
        """`terminate()` for async code."""
        await self._away(self.terminate, reason)

    async def apause(self) -> bool:
        """`pause()` for async code."""
        return await self._away(self.pause)

    async def aresume(self) -> bool:
        """`resume()` for async code."""
        return await self._away(self.resume)

    async def aretry(self) -> bool:
        """`retry()` for async code."""
        return await self._away(self.retry)

    async def afork(self, from_step: int, *, id: str | None = None) -> Run[R]:
        """`fork()` for async code."""
        return await self._away(self.fork, from_step, id=id)

    async def arewind(self, to_step: int) -> None:
        """`rewind()` for async code."""
        await self._away(self.rewind, to_step)

    async def await_state(self, key: str, timeout: float | None = None) -> Any:
        """`wait_state()` for async code."""
        import asyncio

        return await asyncio.to_thread(self.wait_state, key, timeout)

    async def astream(self, name: str, after: int = 0) -> AsyncIterator[Chunk]:
        """`stream()` for async code."""
        self._runs("astream()")
        async for chunk in streaming.astream(self.app, self.id, name, after):
            yield chunk

    # -- as a value --------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Run {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, Run) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


def _number(step: int) -> int:
    if not is_count(step) or step < 1:
        raise ValueError(f"steps are counted from 1, as run.steps() shows them, not {step!r}")
    return step
