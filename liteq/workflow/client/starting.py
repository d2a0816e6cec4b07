"""Starting a run: from a program, from a body, from a step, and in place under `task_always_eager`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from liteq import context
from liteq.exceptions import WorkflowError
from liteq.message import Batch, Message
from liteq.sending.replicated import written
from liteq.workflow.calling.effects import start
from liteq.workflow.client.run import Run
from liteq.workflow.declared.declaration import Declaration
from liteq.workflow.history.frames import here

__all__ = ["start_run"]


def start_run(flow: Declaration[Any, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[Any]:
    """Start a run of `flow`, by its options; the run that stands under its id."""
    app, asked = flow.app, flow.asked
    frame = here()
    if frame is not None and hasattr(frame, "branch"):  # a body
        flow.check_arguments(args, kwargs)
        message = flow.message(args, kwargs, id_=flow.new_id(), **frame.machine.family)
        id_ = start(frame, flow.name, message, (args, kwargs, asked.id), asked.on_conflict, flow.event_of())
        return Run(app, id_, flow)
    if app.conf.task_always_eager:
        from liteq.workflow.client.inplace import start_eagerly  # it brings what executes

        return start_eagerly(flow, args, kwargs)
    observer = app.publisher.observer
    with nullcontext() if observer is None else observer.sending():
        return _start(flow, frame, args, kwargs)


def _start(flow: Declaration[Any, Any], frame: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Run[Any]:
    app, asked = flow.app, flow.asked
    message = flow.message(args, kwargs, id_=flow.new_id())
    transaction = getattr(frame, "transaction", None)  # of a step in the queue's file: the run belongs to its commit
    runs: Any = transaction if hasattr(transaction, "start") else app.storage.runs
    if runs is not transaction and not app.storage.takes_parts():
        run = _start_with(flow, message)
    else:
        started = runs.start(message, on_conflict=asked.on_conflict, event=flow.event_of())
        run = Run(app, started.id, flow)
        run.duplicate = started.id != message.id
    running = context.current_request()
    if running is not None:
        running.children.append(run)
    return run


def _start_with(flow: Declaration[Any, Any], message: Message) -> Run[Any]:
    """Send the run by a transaction of another database, as a message. Raises WorkflowError for what looks at runs."""
    asked = flow.asked
    if asked.on_conflict != "fail" or asked.event is not None:
        raise WorkflowError(
            "start() with on_conflict= or event= cannot be a part of this transaction, which is of another database: "
            "nothing was started. Call it outside, or when the transaction has committed"
        )
    written(flow.app, Batch([message]))
    return Run(flow.app, message.id, flow)
