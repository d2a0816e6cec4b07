"""The entry of a worker: one lease of a run, or of a step that was sent as a message, to its outcome.

The process that executes calls `activate` in its main thread, for each lease whose row has the flag RUN, and for each
message sent by name alone whose task is a workflow (`task.is_workflow`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from liteq import context
from liteq.context import App, Request
from liteq.exceptions import (
    BadMessage,
    LeaseLost,
    NotRegistered,
    StorageError,
    TimeLimitExceeded,
    WorkflowCancelled,
    WorkflowError,
)
from liteq.message import LATER, Ack, DeadLetter, Flag, Lease, Outcome, Park, Release, RunFacts
from liteq.serialization import decode
from liteq.serialization.content import ENVELOPE, Owner
from liteq.workflow.activating.body import Body, run_through
from liteq.workflow.declared.sent_step import as_sent
from liteq.workflow.history.code import fingerprint_of
from liteq.workflow.history.errors import document_of
from liteq.workflow.history.frames import Diverged, Leave
from liteq.workflow.history.machine import Machine, cancelled
from liteq.workflow.history.places import Limit, Page
from liteq.workflow.history.taking import leave_aside
from liteq.workflow.history.telling import tell_failed, tell_goes_on, tell_outcome, tell_returned
from liteq.workflow.stepping.limits import put_off_run

__all__ = ["activate"]


def activate(
    app: App,
    lease: Lease,
    *,
    hostname: str = "",
    page: Page | None = None,
    stop: Callable[[], int] | None = None,
    limit: Limit | None = None,
    told: bool = True,
) -> Outcome:
    """Execute `lease` as far as it goes in this process: until it ends, waits, or `stop()` is true after a step.

    Of a run: Ack (its result), DeadLetter (its exception), Cancel (it was cancelled), Suspend (it waits), Release (it
    is given back: a warm stop), Park (stuck), ContinueAsNew. Of a step's message: Ack, DeadLetter, Suspend (the next
    attempt), Cancel, Release. Where the lease was lost meanwhile the outcome is a Release, which its token makes void.

    An Exception of the user's is an outcome and is not raised; SystemExit of a step is its failure. What else is no
    Exception ends the process, and is raised. `page` is told of each step before it begins. `limit`: how StepTimeout
    is raised inside a step that does not await; without it, by a timer of this module where the thread is the main one.
    `told`: the log says that the run goes on, what it waits for, and how it ended; nothing of a mere comparison.
    """
    facts = RunFacts._make(lease.run) if lease.run is not None else NO_FACTS
    machine = Machine(app, lease, facts, page=page, stop=stop, limit=limit)
    try:
        body = _body_of(machine, facts)
        if lease.flags & Flag.HISTORY:
            machine.load()
    except (NotRegistered, BadMessage) as exc:
        return Park("stuck", document_of(exc, machine.error_limit, traced=False), fingerprint_of(app))
    request = Request.from_lease(lease, body.args, body.kwargs, hostname)
    request._task = body.task
    request._workflow = body
    machine.told = told
    if told and lease.flags & Flag.HISTORY:
        tell_goes_on(machine)
    token = context.enter(body.task, request)
    try:
        if machine.observer is None or not told:
            outcome = _surrounded(machine, body, request)
        else:
            with machine.observer.executing(body.task, request) as ended:
                outcome = _surrounded(machine, body, request)
                ended(outcome, machine.failure)
    finally:
        if request._telling is not None:
            request._telling.close(done=True)
        context.leave(token)
    if told:
        tell_outcome(machine, outcome)
    return outcome


def _surrounded(machine: Machine, body: Body, request: Request) -> Outcome:
    """The outcome of a body, which runs within the context that the app has around tasks."""
    around = machine.app.integrations.around_task()
    with nullcontext() if around is None or body.task is None else around(body.task, request):
        return _outcome(machine, body)


NO_FACTS = RunFacts("", 0, 0, 0, None, None, "", None, 0, 0, 0)


def _body_of(machine: Machine, facts: RunFacts) -> Body:
    """The code of a run, with its arguments. Raises NotRegistered, BadMessage."""
    app, lease = machine.app, machine.lease
    machine.is_step = bool(lease.flags & Flag.STEP)
    found: Any
    if machine.is_step:
        found = app.steps_of_workflows.get(lease.task)
    else:
        found = app.tasks.get(lease.task) or app.tasks.find(lease.task)
        versions = app.versions_of_workflows.get(lease.task, {})
        found = versions.get(facts.version, found)
    if found is None or not hasattr(found, "codec"):
        raise NotRegistered(lease.task, app.tasks)
    if machine.is_step and lease.options is not None:
        found = as_sent(found, lease.options)
    args, kwargs = _arguments(machine)
    args, kwargs = found.codec.load(args, kwargs)
    return Body(machine, found, args, kwargs)


def _arguments(machine: Machine) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a message as they were sent, with the result that it awaited in front."""
    app, lease = machine.app, machine.lease
    content = app.content
    if lease.payload[:1] == ENVELOPE:
        args, kwargs = content.read(lease.payload, Owner(lease.id, lease.task))
    else:
        args, kwargs = decode(lease.payload, content)
    if lease.flags & Flag.TAKES_INPUT:
        if lease.flags & Flag.ON_FAILURE:
            args = [lease.awaits, *args]
        elif lease.input is not None and lease.awaits is not None:
            found = lease.input if lease.input != LATER else app.storage.reader.input_of(lease.awaits)
            args = [decode(found, app.result_content), *args]
    return args, kwargs


def _outcome(machine: Machine, body: Body) -> Outcome:
    """Run the body; what became of it."""
    try:
        value = body.run() if machine.through is None else run_through(machine, body)
    except Leave:
        return _left(machine)
    except WorkflowCancelled as exc:
        return _ended(machine, exc)
    except BaseExceptionGroup as exc:  # of a TaskGroup
        return _of_group(machine, exc)
    except Exception as exc:  # noqa: BLE001 - of the body: it has failed
        return _swallowed(machine, exc) if machine.leaving is not None else _put_off(machine, exc)
    except SystemExit as exc:
        if getattr(exc, "stops_worker", False):
            raise
        return _failed(machine, exc)
    except BaseException as exc:
        if machine.leaving is not None and type(exc).__name__ == "CancelledError":
            return _left(machine)
        if type(exc).__name__ == "CancelledError":
            return _failed(machine, exc)
        raise
    if machine.leaving is not None:
        return _swallowed(machine, None)
    if machine.is_cancelled:
        return _ended(machine, None)
    return _returned(machine, body, value)


def _put_off(machine: Machine, exc: Exception) -> Outcome:
    """The outcome of a body that has raised `exc`: a wait where that asks for one."""
    try:
        return put_off_run(machine, exc) or _failed(machine, exc)
    except Leave:
        return _left(machine)


def _left(machine: Machine) -> Outcome:
    outcome = machine.outcome
    machine.flush()
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome is not None
    return outcome


def _of_group(machine: Machine, exc: BaseExceptionGroup[Any]) -> Outcome:
    if machine.leaving is not None and exc.split(Leave)[1] is None:
        return _left(machine)
    if exc.split(WorkflowCancelled)[1] is None:
        return _ended(machine, None)
    return _swallowed(machine, exc) if machine.leaving is not None else _failed(machine, exc)


def _ended(machine: Machine, exc: BaseException | None) -> Outcome:
    """The end of a run that was cancelled, or whose time was up."""
    machine.flush()
    asked = machine.asked
    if asked is not None and asked.what == "timeout":
        name = machine.lease.task
        error = TimeLimitExceeded(f"the run {machine.run_id} of workflow {name!r} took longer than its timeout")
        return DeadLetter(document_of(error, machine.error_limit, traced=False))
    reason = asked.reason if asked is not None else str(exc or "")
    outcome: Outcome = cancelled(reason)
    return outcome


def _swallowed(machine: Machine, exc: BaseException | None) -> Outcome:
    """The body has caught the exception by which it was to be left: what came after is not to be trusted."""
    outcome = machine.outcome
    if machine.is_collected or isinstance(outcome, (BaseException, Release)) or isinstance(machine.leaving, Diverged):
        return _left(machine)
    how = "returned" if exc is None else f"raised {type(exc).__name__}: {exc}"
    error = WorkflowError(
        f"the body of {machine.lease.task!r} had to wait, but {how}: an `except BaseException:` or a bare `except:` in "
        "it caught the exception that ends the activation; catch only the exceptions that you mean"
    )
    error.__cause__ = exc
    return Park("stuck", document_of(error, machine.error_limit), fingerprint_of(machine.app), machine.written > 0)


def _failed(machine: Machine, exc: BaseException) -> Outcome:
    if machine.is_cancelled:
        return _ended(machine, exc)
    machine.failure = exc
    machine.flush()
    if isinstance(exc, (StorageError, LeaseLost)) and machine.outcome is exc:
        raise exc
    if machine.told:
        tell_failed(machine, exc)
    return DeadLetter(document_of(exc, machine.error_limit))


def _returned(machine: Machine, body: Body, value: Any) -> Outcome:
    """The end of a body that has returned."""
    try:
        unused = machine.unused()
        if unused is not None:
            machine.diverged((unused.scope, unused.pos), f"{unused.kind} {unused.name!r}", "the end of the body")
        machine.look_at_the_time()
        if machine.asked is not None and machine.asked.what == "timeout":
            return _ended(machine, None)
        # The result of a step is one of history, wherever it has run.
        setting = "max_step_bytes" if machine.is_step else "max_result_bytes"
        data, _ = body.task.codec.result.kept(value, machine.app.conf[setting], setting)
        leave_aside(machine)  # not where the result is refused: the run has failed then, and may be retried
    except Leave:
        return _left(machine)
    except BadMessage as exc:
        return _failed(machine, exc)
    machine.flush()
    if machine.told:
        tell_returned(machine, value)
    return Ack(data)
