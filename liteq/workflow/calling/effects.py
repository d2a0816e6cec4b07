"""Effects of a body on others: events, messages that it sends, values and tags that readers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from liteq.exceptions import CanvasConflict, RunConflict, RunEnded, WorkflowError
from liteq.message import Batch, Message, StepRow, new_id
from liteq.result import AsyncResult
from liteq.sending.compile import compile_signature
from liteq.serialization import encode
from liteq.serialization.models import data_of
from liteq.utils.names import checked_id, checked_name
from liteq.workflow.calling.scope import Scope
from liteq.workflow.calling.targets import Canvas
from liteq.workflow.history.codec import hash_of
from liteq.workflow.history.errors import document_of, raised_of
from liteq.workflow.history.places import Place
from liteq.workflow.stepping.inside import emitter_of

__all__ = ["Detached", "emit", "send", "send_call", "send_canvas", "set_state", "start", "tag"]


class Detached(AsyncResult[Any]):
    """The result of something that a body has sent and does not wait for: its id, and nothing that a replay repeats."""

    def _refuse(self, what: str) -> NoReturn:
        raise WorkflowError(
            f"{what} of a message that a workflow has sent would differ from replay to replay: to wait for a result, "
            "ctx.call() the task instead of delay()"
        )

    def get(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("get()")

    wait = get

    def _find(self) -> Any:
        self._refuse("the state")

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        self._refuse("revoke()")

    def forget(self) -> None:
        self._refuse("forget()")


def _recorded(scope: Scope, row: StepRow | None) -> bool:
    """Whether history holds the effect. Raises its exception where it was refused."""
    if row is None or row.ended_ms is None:
        return False
    scope.reach(row)
    if row.error is not None:
        raise raised_of(row.error)
    return True


def _record(scope: Scope, place: Place, new: StepRow, **effect: Any) -> StepRow:
    """Record a call with its effect; one that is refused is recorded as that."""
    machine = scope.machine
    machine.front(scope, place)
    ended = machine.now_ms()
    new = new._replace(started_ms=ended, ended_ms=ended, output=b"null", marks=machine.take_marks())
    try:
        machine.written_once(scope, place, lambda: machine.runs.record(machine.hold, new, **effect), [new])
    except (RunEnded, RunConflict, CanvasConflict) as exc:
        error = document_of(exc, machine.error_limit, traced=False)
        machine.checkpoint(new._replace(output=None, error=error))
        scope.reached_ms = max(scope.reached_ms, ended)
        raise raised_of(error) from None
    scope.reached_ms = max(scope.reached_ms, ended)
    return new


def send(scope: Scope, run_id: str, name: str, payload: Any = None) -> None:
    """Send an event to a run, once."""
    run_id, name = checked_id(run_id), checked_name(name, "an event's name")
    limit = scope.machine.app.conf.max_payload_bytes
    data = encode(data_of(payload), what=f"the payload of the event {name!r}", limit=limit)
    arghash = hash_of((run_id, payload), {})
    place, row = scope.place("send", name, arghash, None, (run_id, payload))
    if not _recorded(scope, row):
        _record(scope, place, StepRow(*place, "send", name, None, arghash), send=(run_id, name, data))


def _refuse_waiting(options: Mapping[str, Any]) -> None:
    if options.get("replicated"):
        raise WorkflowError("a workflow's body does not wait for a copy: a step may send with replicated=True")


def send_call(
    scope: Scope,
    name: str | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    task_id: str | None,
    options: dict[str, Any],
) -> Detached:
    """`task.delay()` in a body: recorded, sent once, detached."""
    machine = scope.machine
    app = machine.app
    name = checked_name(name, "a task's name")
    given = (list(args), dict(kwargs))
    arghash = hash_of(given, {}, name)
    place, row = scope.place("send", name, arghash, None, given)
    if not _recorded(scope, row):
        _refuse_waiting(options)
        message = app.publisher.message(name, args, kwargs, options, message_id=task_id or new_id(), **machine.family)
        again = (message.id,) if task_id and not options.get("idempotent") else ()
        new = StepRow(*place, "send", name, None, arghash, child=message.id)
        row = _record(scope, place, new, batch=Batch([message]), again=again)
    assert row is not None
    return Detached(row.child or "", task_name=name, app=app)


def send_canvas(scope: Scope, sig: Any) -> Detached:
    """A signature or a canvas that a body sends: recorded, sent once, detached."""
    machine = scope.machine
    target = Canvas(sig)
    assert target.given is not None
    arghash = hash_of(target.given, {}, target.name)
    place, row = scope.place("send", target.name, arghash, None, target.given)
    if not _recorded(scope, row):
        _refuse_waiting(sig.options)
        compiled = compile_signature(sig, machine.app.publisher, **machine.family)
        new = StepRow(*place, "send", target.name, None, arghash, child=compiled.node.id)
        row = _record(scope, place, new, batch=compiled.batch)
    assert row is not None
    return Detached(row.child or "", task_name=target.name, app=machine.app)


def start(
    scope: Scope, name: str, message: Message, given: Sequence[Any], on_conflict: str, event: tuple[str, bytes] | None
) -> str:
    """`flow.start()` in a body: the id of the run, which is started once and detached."""
    arghash = hash_of(given, {}, f"workflow {name!r}")
    place, row = scope.place("send", name, arghash, None, given)
    if not _recorded(scope, row):
        new = StepRow(*place, "send", name, None, arghash, child=message.id)
        row = _record(scope, place, new, start=(message, on_conflict, event))
    assert row is not None
    return row.child or ""


# -- seen by others, and silent in replay ----------------------------------------------------------------------------


def set_state(scope: Scope, key: str, value: Any) -> None:
    """Store a value that `run.get_state()` shows at once."""
    machine = scope.machine
    machine.check()
    key = checked_name(key, "a state's key")
    if not scope.passed():
        data = encode(data_of(value), what=f"the state {key!r}", limit=machine.max_bytes, setting="max_step_bytes")
        machine.reading(lambda: machine.runs.set_state(machine.hold, key, data))


def tag(scope: Scope, *tags: str) -> None:
    """Add tags, by which `app.runs(tags=...)` finds the run."""
    machine = scope.machine
    machine.check()
    names = [checked_name(one, "a tag") for one in tags]
    if names and not scope.passed():
        machine.reading(lambda: machine.runs.tag(machine.hold, names))


def emit(scope: Scope, stream: str, chunk: Any) -> None:
    """Add a chunk to a stream of the run."""
    machine = scope.machine
    machine.check()
    stream = checked_name(stream, "a stream's name")
    if scope.passed():
        return
    data = encode(data_of(chunk), what=f"a chunk of the stream {stream!r}")
    place = (scope.name, scope.pos)
    emitter = machine.emitters.get(place)
    if emitter is None:
        machine.flush()
        row = StepRow(*place, "step", "", started_ms=machine.now_ms())
        emitter = machine.emitters[place] = emitter_of(machine, row)
    emitter.add(stream, data)
